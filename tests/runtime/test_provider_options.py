"""Options of providers: read, checked, refused by name."""

from __future__ import annotations

import pytest

import edgernn
from edgernn.errors import ProviderError
from edgernn.runtime.provider_options import (
    OPTIONS,
    Value,
    check_options,
    describe_options,
    split_options,
)
from edgernn.runtime.providers import PROVIDERS, find_provider


def refused(call, *arguments, **named):
    with pytest.raises(ProviderError) as caught:
        call(*arguments, **named)
    return str(caught.value)


def test_a_name_alone_and_with_options():
    """A colon separates the name from the options, commas separate options."""
    assert split_options("cuda") == ("cuda", {})
    assert split_options("cuda:device_id=1, use_tf32=1") == (
        "cuda",
        {"device_id": "1", "use_tf32": "1"},
    )
    assert split_options("openvino:cache_dir=a=b") == ("openvino", {"cache_dir": "a=b"})


@pytest.mark.parametrize("pair", ["use_tf32", "=1", "use_tf32=", ""])
def test_what_is_no_option_is_refused(pair):
    """A pair without a name, an equals sign or a value is refused."""
    shown = f"`{pair}`" if pair else "nothing"
    assert refused(split_options, f"cuda:{pair}") == (
        f"`cuda:{pair}` is not a provider with options: {shown} is where OPTION=VALUE should be. "
        "Write them as in `cuda:device_id=1,use_tf32=1`."
    )


def test_an_option_twice_is_refused():
    """An option is given once."""
    assert refused(split_options, "cuda:device_id=1,device_id=2") == (
        "`cuda:device_id=1,device_id=2` gives `device_id` twice. Give it once."
    )


def test_every_provider_has_a_table():
    """Options are known for every provider, those that are set here too."""
    assert list(OPTIONS) == list(PROVIDERS)
    for provider in PROVIDERS.values():
        assert check_options(provider.name, provider.options) == dict(provider.options)


def test_values_are_written_as_onnxruntime_reads_them():
    """Booleans are 0 and 1, or false and true where a provider reads these."""
    given: dict[str, Value] = {
        "device_id": 1,
        "use_tf32": True,
        "arena_extend_strategy": "kSameAsRequested",
    }
    assert check_options("cuda", given) == {
        "device_id": "1",
        "use_tf32": "1",
        "arena_extend_strategy": "kSameAsRequested",
    }
    assert check_options("openvino", {"disable_dynamic_shapes": True, "num_streams": 2}) == {
        "disable_dynamic_shapes": "true",
        "num_streams": "2",
    }
    assert check_options("directml", {"disable_metacommands": "0"}) == {
        "disable_metacommands": "false"
    }


@pytest.mark.parametrize(
    ("provider", "option", "value", "expected"),
    [
        ("cuda", "use_tf32", "yes", "0 or 1"),
        ("cuda", "device_id", -1, "an integer"),
        ("cuda", "device_id", "1.5", "an integer"),
        ("cuda", "cudnn_conv_algo_search", "BEST", "EXHAUSTIVE, HEURISTIC or DEFAULT"),
        ("openvino", "cache_dir", "", "a text"),
    ],
)
def test_a_wrong_value_is_refused(provider, option, value, expected):
    """A value that the option does not have is refused with those that it has."""
    assert refused(check_options, provider, {option: value}) == (
        f"`{option}` of `{provider}` is `{value}`; it must be {expected}."
    )


def test_an_unknown_option_is_refused():
    """An unknown option is refused with the known ones."""
    assert refused(check_options, "directml", {"gpu": 1}) == (
        "`directml` has no option `gpu`; known are: device_id (an integer), "
        "performance_preference (default, high_performance or minimum_power), device_filter (gpu, "
        "npu or any), disable_metacommands (false or true)."
    )
    assert refused(check_options, "cpu", {"threads": 1}) == (
        "`cpu` has no option `threads`; it takes none."
    )


def test_options_of_the_argument_replace_those_of_the_name(lstm):
    """`provider_options` comes after what is written behind the name, and over the defaults."""
    found = find_provider("cuda:device_id=1,use_tf32=1", {"device_id": 2})
    assert found.options == {"use_tf32": "1", "device_id": "2"}
    assert (found.device.memory, found.device.id) == ("cuda", 2)
    assert find_provider("cuda").options == {"use_tf32": "0"}
    assert refused(edgernn.load, lstm, provider_options={"device_id": 1}) == (
        "`cpu` has no option `device_id`; it takes none."
    )


def test_the_known_options_in_words():
    """The options are described with their values."""
    assert describe_options("cpu") == ""
    assert describe_options("cuda").startswith("device_id (an integer), use_tf32 (0 or 1), ")
