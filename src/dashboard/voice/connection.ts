/**
 * WebRTC connection to the voice service: audio in both directions, messages over a data channel.
 *
 * Without STUN and TURN, because the service is on the same network. ICE candidates that are found
 * after the offer are sent separately.
 */
import type { Api } from "../api/client";

export type Message = { type: string } & Record<string, unknown>;

export interface ConnectionHandlers {
  onMessage: (message: Message) => void;
  onAudio: (stream: MediaStream) => void;
  onLost: () => void;
}

export interface VoiceConnection {
  send: (message: Message) => boolean;
  close: () => void;
}

const DISCONNECTED_LIMIT_MS = 6000; // "disconnected" may be transient

export async function openConnection(
  api: Pick<Api, "sendOffer" | "sendCandidates">,
  microphone: MediaStream,
  room: string,
  handlers: ConnectionHandlers,
): Promise<VoiceConnection> {
  const peer = new RTCPeerConnection({ iceServers: [] });
  const channel = peer.createDataChannel("messages");
  let pcId = "";
  let pending: RTCIceCandidate[] = [];
  let closed = false;
  let disconnectTimer: ReturnType<typeof setTimeout> | undefined;

  const close = (): void => {
    closed = true;
    clearTimeout(disconnectTimer);
    peer.close();
  };
  const onLost = (): void => {
    if (closed) return;
    close();
    handlers.onLost();
  };
  const sendCandidates = (found: RTCIceCandidate[]): void => {
    if (found.length === 0) return;
    const candidates = found.map((one) => one.toJSON() as Record<string, unknown>);
    // A lost candidate does no harm: the peer also learns addresses from connectivity checks.
    api.sendCandidates({ pc_id: pcId, candidates }).catch(() => undefined);
  };

  peer.onicecandidate = ({ candidate }) => {
    if (!candidate) return;
    if (pcId) sendCandidates([candidate]);
    else pending.push(candidate);
  };
  peer.ontrack = ({ streams, track }) => handlers.onAudio(streams[0] ?? new MediaStream([track]));
  peer.onconnectionstatechange = () => {
    clearTimeout(disconnectTimer);
    if (peer.connectionState === "failed" || peer.connectionState === "closed") onLost();
    if (peer.connectionState === "disconnected") disconnectTimer = setTimeout(onLost, DISCONNECTED_LIMIT_MS);
  };
  channel.onmessage = ({ data }) => {
    try {
      const message: unknown = JSON.parse(String(data));
      if (message && typeof message === "object" && "type" in message) handlers.onMessage(message as Message);
    } catch {
      // messages of the transport, such as "pong"
    }
  };
  channel.onclose = onLost;

  try {
    for (const track of microphone.getAudioTracks()) peer.addTrack(track, microphone);
    await peer.setLocalDescription(await peer.createOffer());
    const answer = await api.sendOffer({ sdp: peer.localDescription?.sdp ?? "", type: "offer", room });
    pcId = answer.pc_id;
    await peer.setRemoteDescription({ type: "answer", sdp: answer.sdp });
    sendCandidates(pending);
    pending = [];
  } catch (error) {
    close();
    throw error;
  }
  return {
    send(message) {
      if (channel.readyState !== "open") return false;
      channel.send(JSON.stringify(message));
      return true;
    },
    close,
  };
}
