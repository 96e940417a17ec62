/** Sounds of alerts: three that need no file, and those of the streamer. Mute silences also the one that plays. */
import { media } from "./media.js";

/** Notes in Hz, one after the other. @type {Record<string, {notes: number[], each: number, wave: OscillatorType}>} */
const MADE = {
  chime: { notes: [880, 1318.5], each: 0.16, wave: "sine" },
  pop: { notes: [520], each: 0.09, wave: "triangle" },
  fanfare: { notes: [523.3, 659.3, 784, 1046.5], each: 0.14, wave: "triangle" },
};

export class Sounds {
  #muted = false;
  /** @type {AudioContext|null} made with the first sound: one that waits costs a thread */
  #context = null;
  /** @type {HTMLAudioElement|null} */
  #playing = null;

  /** @param {boolean} muted */
  mute(muted) {
    this.#muted = muted;
    if (muted) this.stop();
  }
  stop() {
    this.#playing?.pause();
    this.#playing = null;
    this.#context?.close();
    this.#context = null;
  }

  /**
   * @param {string} sound
   * @param {number} volume in percent
   */
  async play(sound, volume) {
    if (this.#muted || sound === "none" || !volume) return;
    const made = MADE[sound];
    if (made) return this.#make(made, volume / 100);
    const file = await media(sound);
    if (!file || file.sort !== "audio" || this.#muted) return;
    const audio = this.#playing = new Audio(file.url);
    audio.volume = volume / 100;
    await audio.play().catch(() => {}); // a browser may want a tap first; streaming programs do not
  }

  /**
   * @param {{notes: number[], each: number, wave: OscillatorType}} sound
   * @param {number} volume
   */
  #make({ notes, each, wave }, volume) {
    if (typeof AudioContext === "undefined") return;
    this.stop();
    const context = this.#context = new AudioContext();
    notes.forEach((hertz, n) => {
      const begin = context.currentTime + n * each;
      const gain = new GainNode(context, { gain: 0 });
      gain.gain.setValueAtTime(0, begin);
      gain.gain.linearRampToValueAtTime(volume * 0.5, begin + 0.01);
      gain.gain.exponentialRampToValueAtTime(0.001, begin + each * 2.5);
      const tone = new OscillatorNode(context, { frequency: hertz, type: wave });
      tone.connect(gain).connect(context.destination);
      tone.start(begin);
      tone.stop(begin + each * 2.5);
      if (n === notes.length - 1) tone.onended = () => { if (this.#context === context) this.stop(); };
    });
  }
}
