// Input of a model that takes numbers: sliders, a file, a microphone, random or recorded numbers.

import { short } from "page/line_plot.mjs";
import { readCsv, readNpy, sequenceOf } from "page/number_files.mjs";
import { Microphone, readSound } from "page/sound_input.mjs";

const MOST_SLIDERS = 16;
const LOWEST_OF_SOUND = 8000; // samples in a second
const SOME = 64; // steps of a sequence that has no length of its own

/** Return a normal number of mean 0 and deviation 1. */
const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());

/** A sequence that is read from its start, again and again where it is a loop. */
class Reading {
  constructor({ steps, at }, loop) {
    Object.assign(this, { steps, at, loop, place: 0 });
  }

  get ended() {
    return !this.loop && this.place >= this.steps;
  }

  take(steps) {
    if (!this.loop && this.place + steps > this.steps) {
      this.place = this.steps;
      return null;
    }
    const start = this.place;
    this.place = this.loop ? (start + steps) % this.steps : start + steps;
    return (port, t, c) => this.at(port, (start + t) % this.steps, c);
  }
}

export class NumberInput {
  /**
   * parent: where it is put. call: the ModelCall. recorded: name of an input → its recorded run.
   * rate: samples in a second of a sound, or null. onChange: another source was chosen.
   */
  constructor(parent, { call, recorded, rate, onChange }) {
    Object.assign(this, { parent, call, recorded, rate, onChange });
    this.ports = call.inputs;
    const isSound = this.isSound = rate >= LOWEST_OF_SOUND && this.ports.length === 1 && this.ports[0].width === 1;
    const width = this.ports.reduce((sum, port) => sum + port.width, 0);
    const modes = isSound ? ["sound", "microphone", "recorded", "random"] : ["sliders", "file", "recorded", "random"];
    this.modes = modes.filter((mode) => mode !== "sliders" || width <= MOST_SLIDERS);
    const titles = { sliders: "Sliders", file: "File", recorded: "Recorded run", random: "Random", sound: "Sound file", microphone: "Microphone" };
    parent.innerHTML = `<fieldset class="choice"><legend>Numbers from</legend>${this.modes.map((mode) =>
      `<label><input type="radio" name="mode" value="${mode}"><span>${titles[mode]}</span></label>`).join("")}</fieldset>
      <div id="panel"></div><p class="error" role="alert"></p>`;
    [this.panel, this.error] = [parent.querySelector("#panel"), parent.querySelector(".error")];
    parent.querySelectorAll("[name=mode]").forEach((radio) => radio.addEventListener("change", () => this.choose(radio.value)));
    this.sliders = Object.fromEntries(this.ports.map((port) => [port.name, new Float64Array(port.width)]));
    this.scale = 1;
    this.choose(isSound ? "recorded" : this.modes[0]);
  }

  /** The samples in a second of the sound that the model takes; null where it takes other numbers. */
  get soundRate() {
    return this.isSound ? this.rate : null;
  }

  get isLive() {
    return this.mode === "microphone";
  }

  get ended() {
    return this.taken || (this.reading?.ended ?? false);
  }

  /** Return the next steps; null where the microphone has not heard them or the file has ended. */
  take(steps) {
    if (this.reading) return this.reading.take(steps);
    if (this.mode === "sliders") return (port, _, c) => this.sliders[port][c];
    if (this.mode === "random") return (port) => this.#random(this.ports.find(({ name }) => name === port));
    if (this.mode === "microphone") return this.#heard(steps);
    throw new Error("No file is open yet. Choose one, then run.");
  }

  /** Return a whole sequence, once: the file or the recorded run, else some steps. */
  takeAll() {
    if (this.taken) return null;
    this.taken = true;
    const steps = this.reading?.steps ?? SOME;
    return Object.assign(this.take(steps), { steps });
  }

  rewind() {
    this.taken = false;
    if (this.reading) this.reading.place = 0;
    this.queue = [];
  }

  progress() {
    if (!this.reading || this.mode === "recorded") return "";
    const { place, steps } = this.reading;
    const seconds = (count) => `${(count / this.rate).toFixed(1)} s`;
    return this.mode === "sound" ? `${seconds(place)} of ${seconds(steps)}` : `${place} of ${steps} steps`;
  }

  summary = () => this.progress();

  async choose(mode) {
    this.microphone?.stop();
    Object.assign(this, { mode, reading: null, queue: [], microphone: null, taken: false });
    this.parent.querySelector(`[value=${mode}]`).checked = true;
    this.say("");
    this.panel.innerHTML = "";
    ({ sliders: this.#sliders, file: this.#file, sound: this.#file, recorded: this.#recorded, random: this.#randomScale, microphone: this.#listen })[mode].call(this);
    this.onChange?.();
  }

  say(sentence) {
    this.error.textContent = sentence;
  }

  /** Return the range of a port's numbers: of its recorded run, in round numbers, or of its ids. */
  rangeOf(port) {
    if (port.dtype === "bool") return [0, 1, 1];
    if (port.limit) return [0, port.limit - 1, 1];
    if (this.isSound) return [-1, 1, 0.01];
    const { steps, width, at } = this.recorded[port.name];
    let largest = 1;
    for (let i = 0; i < (steps ?? 1) * width; i++) largest = Math.max(largest, Math.abs(at(Math.floor(i / width), i % width)));
    const range = Math.ceil(largest);
    return port.dtype.startsWith("float") ? [-range, range, range / 100] : [-range, range, 1];
  }

  #sliders() {
    this.panel.className = "sliders";
    for (const port of this.ports) {
      const [low, high, step] = this.rangeOf(port);
      for (let column = 0; column < port.width; column++) {
        const label = document.createElement("label");
        label.innerHTML = "<span></span><input type='range'><output></output>";
        const [name, input, output] = label.children;
        name.textContent = port.width === 1 ? port.name : `${port.name} ${column}`;
        Object.assign(input, { min: low, max: high, step, value: this.sliders[port.name][column] });
        const show = () => (output.textContent = short(Number(input.value)));
        input.addEventListener("input", () => {
          this.sliders[port.name][column] = Number(input.value);
          show();
        });
        show();
        this.panel.append(label);
      }
    }
  }

  #random(port) {
    if (port.limit) return Math.floor(Math.random() * port.limit);
    if (port.dtype === "bool") return Math.random() < 0.5 ? 0 : 1;
    const value = normal() * this.scale;
    return port.dtype.startsWith("float") ? value : Math.round(value);
  }

  #randomScale() {
    this.panel.className = "sliders";
    this.panel.innerHTML = `<label><span>Size</span><input type="range" min="0" max="3" step="0.05" value="${this.scale}"><output>${this.scale}</output></label>`;
    const [, input, output] = this.panel.firstChild.children;
    input.addEventListener("input", () => (output.textContent = short((this.scale = Number(input.value)))));
  }

  #recorded() {
    const steps = Math.max(...Object.values(this.recorded).map((run) => run.steps ?? 1));
    this.panel.className = "note";
    this.panel.textContent = `The ${steps.toLocaleString("en")} steps that were recorded at the export, again and again.`;
    this.reading = new Reading({ steps, at: (port, t, c) => this.recorded[port].at(t, c) }, true);
  }

  #file() {
    const kinds = this.mode === "sound" ? ".wav" : this.ports.length === 1 ? ".csv, .npy" : ".csv";
    this.panel.className = "file";
    this.panel.innerHTML = `<label class="drop"><input type="file" accept="${kinds.replace(/ /g, "")}${this.mode === "sound" ? ",audio/*" : ""}">
      <b>Choose a file</b> or drop one here<small></small></label>`;
    const [drop, input, small] = ["label", "input", "small"].map((name) => this.panel.querySelector(name));
    const width = this.ports.reduce((sum, port) => sum + port.width, 0);
    small.textContent = this.mode === "sound" ? ".wav and whatever else this browser plays" : `${kinds.replace(", ", " or ")}, ${width} ${width === 1 ? "number" : "numbers"} a step`;
    const open = async (file) => {
      if (!file) return;
      try {
        this.reading = new Reading(await this.#sequence(file), false);
        this.say("");
        drop.querySelector("b").textContent = file.name;
        this.onChange?.();
      } catch (error) {
        this.reading = null;
        this.say(error.message);
      }
    };
    input.addEventListener("change", () => open(input.files[0]));
    drop.addEventListener("dragover", (event) => event.preventDefault());
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      open(event.dataTransfer.files[0]);
    });
  }

  async #sequence(file) {
    const bytes = new Uint8Array(await file.arrayBuffer());
    if (this.mode === "sound") {
      const samples = await readSound(bytes, this.rate, file.name);
      return { steps: samples.length, at: (_, t) => samples[t] };
    }
    if (!/\.npy$/i.test(file.name)) return readCsv(new TextDecoder().decode(bytes), this.ports, file.name);
    const { name } = this.ports[0];
    return sequenceOf(readNpy(bytes, file.name), this.recorded[name], name, file.name);
  }

  #listen() {
    this.panel.className = "note";
    this.panel.textContent = `Run listens at ${this.rate.toLocaleString("en")} samples a second. The sound stays in this page.`;
    this.microphone = new Microphone(this.rate, (samples) => {
      this.queue.push(...samples);
      if (this.queue.length > 10 * this.rate) this.queue.splice(0, this.queue.length - this.rate);
    });
  }

  /** Start and stop what listens, as the page runs and pauses. */
  async listen(isRunning) {
    if (!this.microphone || this.microphone.isOn === isRunning) return;
    if (isRunning) await this.microphone.start();
    else this.microphone.stop();
  }

  #heard(steps) {
    if (this.queue.length < steps) return null;
    const samples = this.queue.splice(0, steps);
    return (_, t) => samples[t];
  }

  draw() {}
}
