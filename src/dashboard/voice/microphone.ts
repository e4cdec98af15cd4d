/** Access to the microphone and its level. */

export interface Problem {
  title: string;
  text: string;
}

export class MicrophoneError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.title);
  }
}

const INSECURE: Problem = {
  title: "The browser blocks the microphone because this address is not secure.",
  text: "Use the https address, or 127.0.0.1 on the server itself. Typing works here.",
};

const PROBLEMS: Record<string, Problem> = {
  NotAllowedError: {
    title: "The microphone is not allowed for this page.",
    text: "Allow it in the browser's settings for this page (beside the address), then press again.",
  },
  NotFoundError: {
    title: "No microphone was found.",
    text: "Connect a microphone or select one in the system settings, then press again. Typing works without one.",
  },
  NotReadableError: {
    title: "Another program uses the microphone.",
    text: "Close that program, then press again.",
  },
};

/** Describes why the microphone is unavailable. Pure. */
export function describeProblem(error: unknown): Problem {
  const name = error instanceof Error || error instanceof DOMException ? error.name : "";
  return (
    PROBLEMS[name] ?? {
      title: "The microphone is unavailable.",
      text: error instanceof Error ? error.message : String(error),
    }
  );
}

export async function openMicrophone(): Promise<MediaStream> {
  if (!window.isSecureContext || !navigator.mediaDevices) throw new MicrophoneError(INSECURE);
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
    });
  } catch (error) {
    throw new MicrophoneError(describeProblem(error));
  }
}

const FULL_SCALE_RMS = 0.25; // root mean square of loud speech

/** Measures the level of a stream, 0 to 1. */
export function createLevelMeter(stream: MediaStream): { level: () => number; close: () => void } {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  analyser.fftSize = 512;
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  return {
    level() {
      analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, one) => sum + one * one, 0) / samples.length;
      return Math.min(1, Math.sqrt(power) / FULL_SCALE_RMS);
    },
    close: () => void context.close(),
  };
}
