// The sound that a model gives, to listen to.

const MOST = 60; // seconds that are kept

export class SoundOutput {
  /** parent: where the button is put. rate: samples in a second. */
  constructor(parent, rate) {
    this.rate = rate;
    this.button = document.createElement("button");
    this.button.className = "listen";
    this.button.addEventListener("click", () => (this.context ? this.#stop() : this.#play()));
    parent.append(this.button);
    this.clear();
  }

  clear() {
    this.samples = [];
  }

  push(steps, at) {
    for (let step = 0; step < steps; step++) this.samples.push(at(step, 0));
    const most = MOST * this.rate;
    if (this.samples.length > 2 * most) this.samples.splice(0, this.samples.length - most);
  }

  #play() {
    this.context = new AudioContext({ sampleRate: this.rate });
    const samples = Float32Array.from(this.samples.slice(-MOST * this.rate));
    const buffer = this.context.createBuffer(1, samples.length, this.rate);
    buffer.copyToChannel(samples, 0);
    const player = new AudioBufferSourceNode(this.context, { buffer });
    player.connect(this.context.destination);
    player.onended = () => this.#stop();
    player.start();
    this.draw();
  }

  #stop() {
    this.context?.close();
    this.context = null;
    this.draw();
  }

  draw() {
    const seconds = (Math.min(this.samples.length, MOST * this.rate) / this.rate).toFixed(1);
    this.button.textContent = this.context ? "Stop" : `Listen to the last ${seconds} s`;
    this.button.disabled = this.samples.length === 0 && !this.context;
  }
}
