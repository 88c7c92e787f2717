"""Faults of the two APIs: away, slow, refusing, and lying about what became of a call."""

from typing import Any, ClassVar

from sandbox.handles import StandInHandle
from tests.chaos.faults import Fault, named
from tests.chaos.traffic import stubbornly

LATE_S = 1.5
"""Longer than the client waits (1 s), and within what `API_MAX_REQUEST_AGE` of the settings here (2 s) allows besides."""

AWAY_S = 15.0
"""How long an API that another fault has taken away is waited for."""

COUNTS = "/inserted_observations/"
STATES = "^/(instances|jobs)/[^/]+$"


class ApiFault(Fault):
    """
    Calls to one API meet what `does` says, for up to 1.5 s or a few times.

    `hits` tells afterwards how many calls met it.
    """

    does: ClassVar[dict[str, Any]] = {}
    method: ClassVar[str | None] = "PUT"
    weight = 2

    def draw(self) -> None:
        self.hits = 0
        self.api = self.random.choices(("dataset-api", "import-api"), (4, 1))[0]
        self.path = self.random.choices((COUNTS, STATES), (4, 1))[0] if self.api == "dataset-api" else STATES
        self.probability = self.random.choice((0.1, 0.5, 1.0))
        self.times = self.random.choice((1, 3, 10, 50))
        self.hold_s = self.random.uniform(0.2, 1.5)

    @property
    def handle(self) -> StandInHandle:
        """The API's control surface."""
        return self.stack.dataset_api if self.api == "dataset-api" else self.stack.import_api

    def inject(self) -> None:
        stubbornly(self._begin, AWAY_S)

    def _begin(self) -> None:
        self.id = self.handle.fault(**self.does, method=self.method, path=self.path, probability=self.probability, times=self.times)

    def undo(self) -> None:
        stubbornly(self._end)

    def _end(self) -> None:
        self.hits = next((each["hits"] for each in self.handle.faults() if each["id"] == self.id), self.hits)
        self.handle.end_fault(self.id)

    def told(self) -> str:
        return f"{self.name} {self.api} {self.path} {self.probability:g} {self.times} times {self.hold_s:.1f} s"


@named("api_500_not_applied")
class Api500(ApiFault):
    does: ClassVar[dict[str, Any]] = {"do": "answer", "status": 500, "body": "internal error\n"}


@named("api_500_applied")
class Api500Applied(ApiFault):
    does: ClassVar[dict[str, Any]] = {"do": "answer", "when": "after", "status": 500, "body": "internal error\n"}


@named("api_404_not_applied")
class Api404(ApiFault):
    """The ETag was lost between the Dataset API's read and its write."""

    does: ClassVar[dict[str, Any]] = {"do": "answer", "status": 404, "body": "instance not found\n"}

    def draw(self) -> None:
        super().draw()
        self.api, self.path = "dataset-api", COUNTS


@named("api_409_applied")
class Api409Applied(ApiFault):
    does: ClassVar[dict[str, Any]] = {"do": "answer", "when": "after", "status": 409, "body": "instance does not match the expected eTag\n"}


@named("api_cut_not_applied")
class ApiCut(ApiFault):
    does: ClassVar[dict[str, Any]] = {"do": "cut"}


@named("api_cut_applied")
class ApiCutApplied(ApiFault):
    does: ClassVar[dict[str, Any]] = {"do": "cut", "when": "after"}


@named("api_reset_applied")
class ApiResetApplied(ApiFault):
    does: ClassVar[dict[str, Any]] = {"do": "cut", "when": "after", "reset": True}


@named("api_get_cut")
class ApiGetCut(ApiFault):
    """Reading back fails as well."""

    does: ClassVar[dict[str, Any]] = {"do": "cut"}
    method = "GET"

    def draw(self) -> None:
        super().draw()
        self.path = STATES


class _Late(ApiFault):
    """Delays must not add up beyond what the settings promise of the API: one at a time."""

    def draw(self) -> None:
        super().draw()
        self.uses = frozenset({f"delay of {self.api}"})
        self.times = min(self.times, 10)


@named("api_late")
class ApiLate(_Late):
    """The call is applied when the client has given up."""

    does: ClassVar[dict[str, Any]] = {"do": "delay", "seconds": LATE_S}


@named("api_answer_late")
class ApiAnswerLate(_Late):
    """The call is applied, and its answer comes when the client has given up."""

    does: ClassVar[dict[str, Any]] = {"do": "delay", "when": "after", "seconds": LATE_S}


@named("api_slow")
class ApiSlow(_Late):
    """Every call takes 0.2 s longer."""

    does: ClassVar[dict[str, Any]] = {"do": "delay", "seconds": 0.2}
    method = None

    def draw(self) -> None:
        super().draw()
        self.path, self.probability, self.times = "", 1.0, 1000


@named("api_turns_away")
class ApiTurnsAway(ApiFault):
    """A token that is refused, an auth service that is away, an overload."""

    weight = 1

    def _begin(self) -> None:
        status = self.random.choice((401, 403, 429))
        self.id = self.handle.fault("answer", status=status, method=self.method, path=self.path, times=self.times)


@named("api_away")
class ApiAway(Fault):
    """Open connections are cut and new ones refused for up to 5 s."""

    weight = 1

    def draw(self) -> None:
        self.api = self.random.choices(("dataset-api", "import-api"), (3, 1))[0]
        self.uses = frozenset({self.api})
        self.hold_s = self.random.choice((0.3, 1.0, 5.0))

    def inject(self) -> None:
        handle: StandInHandle = self.stack.dataset_api if self.api == "dataset-api" else self.stack.import_api
        handle.be_away(self.hold_s)
