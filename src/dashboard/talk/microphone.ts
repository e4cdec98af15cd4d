/** The microphone: asked for, or why it cannot be had; and how loud it is. */

export interface Problem {
  title: string;
  text: string;
}

export class NoMicrophone extends Error {
  constructor(readonly problem: Problem) {
    super(problem.title);
  }
}

const INSECURE: Problem = {
  title: "This address is not secure, so the browser keeps the microphone shut.",
  text: "Open the house by its https address, or on its own machine by 127.0.0.1. Typing works here.",
};

const PROBLEMS: Record<string, Problem> = {
  NotAllowedError: {
    title: "The microphone is not allowed here.",
    text: "Allow it in the browser's settings of this page (beside the address), then press again.",
  },
  NotFoundError: {
    title: "There is no microphone.",
    text: "Connect one, or choose one in the system's settings, then press again. Typing works without.",
  },
  NotReadableError: {
    title: "Another program holds the microphone.",
    text: "Close whatever records, then press again.",
  },
};

/** Why the microphone cannot be had, in words. Pure. */
export function problemOf(error: unknown): Problem {
  const name = error instanceof Error || error instanceof DOMException ? error.name : "";
  return (
    PROBLEMS[name] ?? {
      title: "The microphone cannot be had.",
      text: error instanceof Error ? error.message : String(error),
    }
  );
}

export async function openMicrophone(): Promise<MediaStream> {
  if (!window.isSecureContext || !navigator.mediaDevices) throw new NoMicrophone(INSECURE);
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
    });
  } catch (error) {
    throw new NoMicrophone(problemOf(error));
  }
}

const LOUD = 0.25; // root mean square of somebody who speaks up

/** Returns what says how loud the stream is now, 0 to 1, and what ends that. */
export function levelOf(stream: MediaStream): { level: () => number; close: () => void } {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  analyser.fftSize = 512;
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  return {
    level() {
      analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, one) => sum + one * one, 0) / samples.length;
      return Math.min(1, Math.sqrt(power) / LOUD);
    },
    close: () => void context.close(),
  };
}
