/**
 * The WebRTC link to the voice: sound both ways, and messages over a data channel.
 *
 * No STUN, no TURN: the house is on the same network, and nobody outside is asked. Addresses that
 * are found after the offer follow it.
 */
import type { Api } from "../api/client";

export type Message = { type: string } & Record<string, unknown>;

export interface Hands {
  onMessage: (message: Message) => void;
  onSound: (stream: MediaStream) => void;
  onLost: () => void;
}

export interface TalkLink {
  send: (message: Message) => boolean;
  close: () => void;
}

const GIVE_UP_MS = 6000; // "disconnected" may pass by itself

export async function openLink(
  api: Pick<Api, "offer" | "late">,
  microphone: MediaStream,
  room: string,
  hands: Hands,
): Promise<TalkLink> {
  const peer = new RTCPeerConnection({ iceServers: [] });
  const channel = peer.createDataChannel("messages");
  let pcId = "";
  let early: RTCIceCandidate[] = [];
  let closed = false;
  let grace: ReturnType<typeof setTimeout> | undefined;

  const close = (): void => {
    closed = true;
    clearTimeout(grace);
    peer.close();
  };
  const lost = (): void => {
    if (closed) return;
    close();
    hands.onLost();
  };
  const tell = (found: RTCIceCandidate[]): void => {
    if (found.length === 0) return;
    const candidates = found.map((one) => one.toJSON() as Record<string, unknown>);
    // One that gets lost costs nothing: the other side learns addresses by being asked.
    api.late({ pc_id: pcId, candidates }).catch(() => undefined);
  };

  peer.onicecandidate = ({ candidate }) => {
    if (!candidate) return;
    if (pcId) tell([candidate]);
    else early.push(candidate);
  };
  peer.ontrack = ({ streams, track }) => hands.onSound(streams[0] ?? new MediaStream([track]));
  peer.onconnectionstatechange = () => {
    clearTimeout(grace);
    if (peer.connectionState === "failed" || peer.connectionState === "closed") lost();
    if (peer.connectionState === "disconnected") grace = setTimeout(lost, GIVE_UP_MS);
  };
  channel.onmessage = ({ data }) => {
    try {
      const message: unknown = JSON.parse(String(data));
      if (message && typeof message === "object" && "type" in message) hands.onMessage(message as Message);
    } catch {
      // the transport's own words, such as "pong"
    }
  };
  channel.onclose = lost;

  try {
    for (const track of microphone.getAudioTracks()) peer.addTrack(track, microphone);
    await peer.setLocalDescription(await peer.createOffer());
    const answer = await api.offer({ sdp: peer.localDescription?.sdp ?? "", type: "offer", room });
    pcId = answer.pc_id;
    await peer.setRemoteDescription({ type: "answer", sdp: answer.sdp });
    tell(early);
    early = [];
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
