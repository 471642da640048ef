// Input of a model with a vocabulary: a text, the best next symbols, and a text that goes on.

const SHOWN = 6;
const VISIBLE = { " ": "␣", "\n": "⏎", "\r": "␍", "\t": "⇥" };

const visible = (symbol) => symbol.replace(/[ \n\r\t]/g, (one) => VISIBLE[one]);

/** Return the probabilities of scores: softmax(scores / temperature). */
export function softmax(scores, temperature = 1) {
  const best = Math.max(...scores);
  const weights = scores.map((score) => Math.exp((score - best) / temperature));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

export class TextInput {
  /**
   * parent: where it is put. model: encodes and decodes. symbols: the vocabulary. scores: the name
   * of the output with one score for each symbol, or null. onReset, onRun: what it asks for.
   */
  constructor(parent, { model, symbols, scores, onReset, onRun }) {
    Object.assign(this, { model, symbols, scores, onReset, onRun });
    this.ids = [];
    this.read = [];
    this.missing = 0; // symbols that are still to be generated
    this.probabilities = null;
    parent.innerHTML = `
      <label for="text">Text</label>
      <textarea id="text" rows="6" spellcheck="false" autocapitalize="off" autocomplete="off"
        aria-describedby="text_error" placeholder="Type here; the model reads along."></textarea>
      <p id="text_error" class="error" role="alert"></p>
      <div id="next">
        <h3 id="next_title">Best next symbols</h3>
        <ol id="best" aria-labelledby="next_title">${"<li><code>&nbsp;</code><i></i><span>&nbsp;</span></li>".repeat(Math.min(SHOWN, symbols.length))}</ol>
        <div class="generate">
          <button id="generate">Generate</button>
          <label>Symbols <input id="count" type="number" min="1" max="10000" value="100"></label>
          <label>Temperature <input id="temperature" type="range" min="0" max="1.5" step="0.1" value="0.7"><output>0.7</output></label>
        </div>
      </div>`;
    const find = (id) => parent.querySelector(`#${id}`);
    [this.text, this.error, this.list, this.temperature] = ["text", "text_error", "best", "temperature"].map(find);
    find("next").hidden = scores === null;
    this.text.addEventListener("input", () => this.#edit());
    this.temperature.addEventListener("input", () => {
      this.temperature.nextElementSibling.textContent = Number(this.temperature.value).toFixed(1);
    });
    find("generate").addEventListener("click", () => {
      this.missing = Math.min(10000, Math.max(1, Math.round(Number(find("count").value)) || 1));
      if (this.ids.length === 0) this.#append(Math.floor(Math.random() * symbols.length));
      this.onRun();
    });
  }

  #edit() {
    this.missing = 0;
    try {
      this.ids = Array.from(this.model.encode(this.text.value), Number);
      this.say("");
    } catch (error) {
      this.say(error.message);
      return;
    }
    if (this.read.some((id, place) => id !== this.ids[place])) this.onReset();
    this.onRun();
  }

  #append(id) {
    this.ids.push(id);
    this.text.value = this.model.decode(this.ids);
    this.text.scrollTop = this.text.scrollHeight;
  }

  get ended() {
    return this.read.length === this.ids.length && this.missing === 0;
  }

  say(sentence) {
    this.error.textContent = sentence;
  }

  progress() {
    return this.ids.length ? `${this.read.length} of ${this.ids.length} symbols read` : "Nothing to read yet";
  }

  /** Say what came last, in a sentence. */
  summary() {
    if (!this.probabilities) return this.progress();
    const best = this.#best()[0];
    return `${this.progress()}. Best next symbol: ${visible(this.symbols[best])}, ${this.#percent(best)}.`;
  }

  /** Return the whole text, for a model that takes whole sequences; null where it was read. */
  takeAll() {
    if (this.read.length === this.ids.length) return null;
    const ids = (this.read = [...this.ids]);
    return Object.assign((_, t) => ids[t], { steps: ids.length });
  }

  /** Return the next symbol of the text, null at its end. */
  take() {
    if (this.read.length === this.ids.length && this.missing > 0 && this.probabilities) {
      this.missing -= 1;
      this.#append(this.#sample());
    }
    if (this.read.length === this.ids.length) return null;
    const id = this.ids[this.read.length];
    this.read.push(id);
    this.chance = this.probabilities?.[id] ?? null;
    return () => id;
  }

  seen(outputs) {
    if (this.scores === null) return;
    const { steps, width, at } = outputs[this.scores];
    const scores = Array.from({ length: width }, (_, column) => at(steps - 1, column));
    this.probabilities = softmax(scores);
    this.raw = scores;
  }

  rewind() {
    this.read = [];
    this.probabilities = null;
  }

  #best() {
    return [...this.probabilities.keys()].sort((a, b) => this.probabilities[b] - this.probabilities[a]);
  }

  #percent(id) {
    return `${(100 * this.probabilities[id]).toFixed(1)} %`;
  }

  #sample() {
    const temperature = Number(this.temperature.value);
    if (temperature === 0) return this.#best()[0];
    let left = Math.random();
    const chances = softmax(this.raw, temperature);
    const id = chances.findIndex((chance) => (left -= chance) < 0);
    return id < 0 ? this.#best()[0] : id;
  }

  draw() {
    const best = this.probabilities ? this.#best() : [];
    [...this.list.children].forEach((row, place) => {
      const [symbol, bar, number] = row.children;
      const id = best[place];
      symbol.textContent = id === undefined ? "\u00a0" : visible(this.symbols[id]);
      bar.style.setProperty("--part", id === undefined ? 0 : this.probabilities[id]);
      number.textContent = id === undefined ? "–" : this.#percent(id);
    });
  }
}
