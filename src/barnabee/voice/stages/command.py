"""Stage 4: words become a reply; until it is there, a filler may be said.

Which filler, if any, follows from how long the answer will take, and that from how long answers
took and from whether the models are there.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pipecat.frames.frames import Frame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from barnabee.core.errors import BadInput, Unavailable
from barnabee.voice.conversation import Effect
from barnabee.voice.frames import Done, FillerFrame, GoesOn, Reply, Words
from barnabee.voice.latency_estimator import Estimate, ModelState

if TYPE_CHECKING:
    from barnabee.clients.api import ApiClient
    from barnabee.clients.gpu import GpuClient
    from barnabee.voice.fillers import Fillers
    from barnabee.voice.room_session import Room
    from barnabee.voice.turn import Turn

# What is left of a turn when the person is done, and the task of the model that each stage needs.
REST = (("stt", "stt"), ("command", "embed"), ("tts", "tts"))
ASKS_BACK = "unsure"  # the intent of a reply that is a question


class Answer(FrameProcessor):
    """Asks the api what is to be done and said."""

    def __init__(
        self,
        room: Room,
        api: ApiClient,
        gpu: GpuClient,
        estimate: Estimate,
        fillers: Fillers,
    ) -> None:
        """Begin with nothing asked."""
        super().__init__(name=f"answer-{room.name}")
        self._room, self._api, self._gpu = room, api, gpu
        self._estimate, self._fillers = estimate, fillers
        self._filling: asyncio.Task[None] | None = None
        self._models: dict[str, ModelState] = {}
        room.on(Effect.BEGIN, self._begin)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Handle one frame."""
        await super().process_frame(frame, direction)
        if isinstance(frame, Done):
            self._filling = frame.turn.spawn(self._fill(frame.turn))
        elif isinstance(frame, GoesOn):
            if self._filling is not None:
                self._filling.cancel()
            await self.push_frame(frame)
        elif isinstance(frame, Words):
            frame.turn.spawn(self._answer(frame.turn, frame.text))
        else:
            await self.push_frame(frame, direction)

    def _begin(self) -> None:
        """Have the models on the turn's path loaded while the person still speaks."""
        turn = self._room.turn
        if turn is not None:
            turn.spawn(self._look())
            turn.keep(lambda: self._gpu.turn(self._room.session))

    async def _look(self) -> None:
        self._models = ModelState.read(await self._gpu.ledger())

    async def _fill(self, turn: Turn) -> None:
        rest = REST[1:] if "heard" in turn.marks else REST
        estimate_ms = self._estimate.answer_ms(rest, self._models)
        turn.told["estimate_ms"] = estimate_ms
        clip = self._fillers.select_filler("answer", estimate_ms)
        if clip is None:
            return
        await asyncio.sleep(self._patience_s(turn))
        if not self._sounds_soon(turn):
            turn.told["filler"] = clip.name
            await self.push_frame(FillerFrame(turn, clip.pcm))

    def _patience_s(self, turn: Turn) -> float:
        """Return how much longer nothing need be said.

        Whose words were awaited to be sure of the end has waited already.
        """
        talk = self._room.talk
        waited_s = turn.stages_s().get("vad", 0.0) - talk.pause_ms / 1000
        since_s = max(0.0, waited_s) if "heard" in turn.marks else 0.0
        return max(0.0, talk.filler_after_ms / 1000 - since_s)

    def _sounds_soon(self, turn: Turn) -> bool:
        """Return whether the reply is heard already, or there and quickly made to sound."""
        if "answered" not in turn.marks:
            return "voiced" in turn.marks
        return "voiced" in turn.marks or (
            self._estimate.stage_ms("tts") < self._fillers.limits.none_below_ms
        )

    async def _answer(self, turn: Turn, text: str) -> None:
        begun_s = turn.clock()
        try:
            answer = await self._api.command(text, self._room.session)
        except (Unavailable, BadInput) as error:
            self._room.fail(error, turn)
            await self.push_frame(Reply(turn, trouble="lost"))
            return
        turn.mark("answered")
        self._estimate.learn("command", (turn.clock() - begun_s) * 1000, answer.intent)
        turn.reply = answer.reply
        turn.told |= {"intent": answer.intent, "degraded": answer.degraded}
        turn.told["api_ms"] = answer.latency_ms
        self._room.say(
            "reply",
            text=answer.reply,
            intent=answer.intent,
            actions=answer.actions,
            degraded=answer.degraded,
            code=answer.code,
            trace_id=turn.trace_id,
        )
        asks = answer.intent == ASKS_BACK
        if asks and "filler" not in turn.told:
            clip = self._fillers.select_filler("ask", 0)
            if clip is not None:
                turn.told["filler"] = clip.name
                await self.push_frame(FillerFrame(turn, clip.pcm, whole=True))
        await self.push_frame(Reply(turn, answer.reply, acted=bool(answer.actions)))
