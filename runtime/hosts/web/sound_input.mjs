// Sound as a sequence of samples at the model's rate: from a file and from the microphone.

const WORKLET = `registerProcessor("samples", class extends AudioWorkletProcessor {
  process([[channel]]) { if (channel) this.port.postMessage(channel.slice()); return true; }
});`;

/** Return the samples of a sound file at a rate, its channels mixed. */
export async function readSound(bytes, rate, name) {
  let sound;
  try {
    sound = await new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes.slice().buffer);
  } catch {
    throw new Error(`\`${name}\` is not a sound that this browser decodes to ${rate} samples a second. Save it as .wav.`);
  }
  const samples = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel++) {
    sound.getChannelData(channel).forEach((value, place) => (samples[place] += value / sound.numberOfChannels));
  }
  return samples;
}

export class Microphone {
  /** rate: samples in a second. onSamples: takes a Float32Array of those that came. */
  constructor(rate, onSamples) {
    Object.assign(this, { rate, onSamples, context: null });
  }

  get isOn() {
    return this.context !== null;
  }

  async start() {
    if (!navigator.mediaDevices) {
      throw new Error("A browser gives the microphone to a page from https, localhost or a file only.");
    }
    const media = await navigator.mediaDevices.getUserMedia({ audio: true }).catch((error) => {
      throw new Error(`The microphone cannot be used: ${error.message}. Allow it for this page.`);
    });
    this.context = new AudioContext({ sampleRate: this.rate });
    await this.context.audioWorklet.addModule(`data:text/javascript,${encodeURIComponent(WORKLET)}`);
    const node = new AudioWorkletNode(this.context, "samples");
    node.port.onmessage = ({ data }) => this.onSamples(data);
    this.context.createMediaStreamSource(media).connect(node);
    this.stopMedia = () => media.getTracks().forEach((track) => track.stop());
  }

  stop() {
    this.stopMedia?.();
    this.context?.close();
    this.context = null;
  }
}
