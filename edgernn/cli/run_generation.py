"""Let a model continue texts: `edgernn run --generate` with --text or --prompts."""

from __future__ import annotations

import json
from collections.abc import Iterator

from edgernn.cli.chunk_runner import ChunkRunner
from edgernn.cli.data_files.output_file import OutputFile
from edgernn.cli.prompt_file import read_prompts
from edgernn.cli.run_options import RunOptions
from edgernn.cli.run_text import TextInterface, read_text
from edgernn.cli.text_writer import write_text
from edgernn.runtime import Model
from edgernn.runtime.generation import Continuation, Generation, Sampling
from edgernn.runtime.generation.stop_texts import check_stops

__all__ = ["run_generation"]


def run_generation(
    model: Model, runner: ChunkRunner, options: RunOptions, target: OutputFile | None
) -> int:
    """Write how the model continues every prompt, and return the number of symbols of the first.

    Args:
        model: The model.
        runner: Has the state to start from, gets the final one, and observes a single prompt.
        options: The prompts, and how symbols are chosen.
        target: Where to write; None for standard output.

    Raises:
        InputError: The model does not take or score symbols, or a prompt is not valid.
    """
    TextInterface(model.contract).require_scores()
    prompts = [read_text(text) for text in options.text]
    if options.prompts is not None:
        prompts += read_prompts(options.prompts)
    generation = Generation(
        model,
        prompts,
        options.generate or 1,
        Sampling.of(options.temperature, options.top_k, options.top_p),
        options.seed,
        check_stops(options.stop),
        runner.state,
        runner.observe,
    )
    as_json = options.json or (target is not None and target.path.suffix == ".jsonl")
    write_text(_lines_of_json(generation) if as_json else _texts(generation), target)
    if options.state_out is not None or options.plot is not None:
        runner.state = generation.final_state()
    return generation.continuations[0].symbols


def _texts(generation: Generation) -> Iterator[str]:
    """Yield the texts in the order of the prompts, a line each, as far as they have come."""
    texts, place = generation.continuations, 0
    for pieces in generation:
        yield pieces[place]
        while texts[place].ended and place + 1 < len(texts):
            place += 1
            yield "\n" + texts[place].text


def _lines_of_json(generation: Generation) -> Iterator[str]:
    """Yield an object for each prompt in their order, once its text has ended."""
    texts, place = generation.continuations, 0
    for _ in generation:
        while place < len(texts) and texts[place].ended:
            yield "\n" * bool(place) + _json(texts[place])
            place += 1


def _json(text: Continuation) -> str:
    content = {
        "prompt": text.prompt,
        "text": text.text,
        "symbols": text.symbols,
        "stop": text.stop,
    }
    return json.dumps(content, ensure_ascii=False)
