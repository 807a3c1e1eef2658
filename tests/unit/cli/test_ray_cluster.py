"""The driver of a Ray cluster, with a stand-in for Ray: its dozen processes are the soak's."""

from __future__ import annotations

import functools
import threading
from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from support.http_servers import free_port

from cli.console.worker_progress import WorkerProgress
from cli.workers.ray_actor import Look, Plan
from shared import settings
from shared.errors import NeuralSearchError, SettingsError

NEVER = object()  # no answer: there is no place for this actor


@functools.cache
def driver() -> Any:
    """The driver's modules and Ray's exceptions: importing Ray takes seconds."""
    exceptions = pytest.importorskip("ray.exceptions", reason="Ray has no package for this Python")
    from cli.workers import fleet, ray_cluster

    return SimpleNamespace(exceptions=exceptions, fleet=fleet, cluster=ray_cluster)


def look(embedded: int, *, life: str = "1", working: bool = True, **other: Any) -> Look:
    about = {"host": "node", "causes": Counter(), "given_back": 0, "said": "", "fault": ""} | other
    return Look(life=life, working=working, counts=Counter(embedded=embedded), **about)


class Actor:
    """Gives one answer after the other, the last one again and again."""

    def __init__(self, *answers: Any):
        self.answers = list(answers)
        self.called: Counter[str] = Counter()
        self.look, self.begin, self.stop = (self._method(name) for name in ("look", "begin", "stop"))

    def _method(self, name: str) -> Any:
        def remote() -> Any:
            self.called[name] += 1
            if name != "look":
                return None
            return [self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]]

        return SimpleNamespace(remote=lambda: Reference(remote()))


class Reference:
    def __init__(self, answer: Any):
        self.answer = answer


class Ray:
    """The calls of the driver. `made` are the actors that a plan gets."""

    __version__ = "0"

    def __init__(self, made: Sequence[Actor] = (), nodes: Sequence[dict[str, float]] = ({"CPU": 2},)):
        self.made = list(made)
        self._nodes = nodes
        self.asked: dict[str, Any] = {}
        self.address: str | None = None
        self.options: dict[str, Any] = {}
        self.connected = False

    def init(self, address: str, **options: Any) -> None:
        self.address, self.options, self.connected = address, options, True

    def shutdown(self) -> None:
        self.connected = False

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": has} for has in self._nodes]

    def remote(self, _kind: type) -> Any:
        def options(**asked: Any) -> Any:
            self.asked = asked
            return SimpleNamespace(remote=lambda _plan: self.made.pop(0))

        return SimpleNamespace(options=options)

    def wait(self, references: list[Reference], **_: Any) -> tuple[list[Reference], list[Reference]]:
        return [one for one in references if one.answer != [NEVER]], []

    def get(self, reference: Reference) -> Any:
        [answer] = reference.answer
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch):
    """Makes this Ray the driver's, without its pauses."""

    def use(ray: Ray) -> Ray:
        for module in (driver().cluster, driver().fleet):
            monkeypatch.setattr(module, "ray", ray)
            monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
        return ray

    return use


def died() -> Exception:
    return driver().exceptions.ActorUnavailableError("killed", None)


def run(
    *,
    once: bool = True,
    address: str | None = None,
    workers: int | None = None,
    gpus: float = 0,
    stop: Any = None,
) -> Any:
    mine = settings.load({"SUPABASE_URL": "http://nowhere.invalid"})
    plan = Plan.of(mine, (), None, once=once)
    return driver().cluster.run(plan, address, workers, gpus, stop or threading.Event())


def test_counts_and_causes_of_all_are_told_in_one_place(use):
    one = Actor(look(3), look(5, working=False, causes=Counter(NotAnImage=1), given_back=4))
    ray = use(Ray([one, Actor(look(2, working=False))], nodes=[{"CPU": 2}, {"CPU": 4}]))
    fleet = run()
    told, plain = fleet.as_json(), WorkerProgress().as_json()
    assert told.pop("seconds") >= plain.pop("seconds")
    own = {"causes": {"NotAnImage": 1}, "workers": 2, "restarts": 0}
    assert told == plain | {"embedded": 7, "given_back": 4} | own
    assert "7 embedded (NotAnImage 1), 4 given back; " in str(fleet)
    assert ray.asked["max_restarts"] == -1 and not ray.connected and ray.address == "local"


def test_an_actor_that_died_counts_on_after_its_restart(use):
    actor = Actor(look(3), died(), look(4, life="2"))
    use(Ray())
    fleet = driver().fleet.Fleet([actor])
    for _ in range(3):
        fleet.look()
    told = fleet.as_json()
    assert (told["embedded"], told["workers"], told["restarts"]) == (7, 1, 1)


def test_an_actor_that_ray_gives_up_ends_it_with_the_remedy(use):
    use(Ray([Actor(look(3), driver().exceptions.ActorDiedError())]))
    with pytest.raises(NeuralSearchError, match=r"doesn't start a worker again.* Run the command again"):
        run(once=False)


@pytest.mark.parametrize("seconds", [-1.0, 0.05])
def test_once_comes_back_to_the_images_of_an_actor_that_died_when_their_leases_have_ended(
    use, monkeypatch, seconds: float
):
    monkeypatch.setattr(driver().fleet, "LEASE_SECONDS", seconds)  # before the others' end, and after it
    actor = Actor(look(3), died(), look(0, life="2", working=False))
    survivor = Actor(look(1), look(1), look(1, working=False))
    use(Ray([actor, survivor]))
    run(workers=2)
    assert (actor.called["begin"], survivor.called["begin"]) == (1, 1)


def test_a_cluster_of_its_own_is_reached_from_this_machine_alone(use):
    ray = use(Ray([Actor(look(1, working=False))]))
    run()
    assert ray.options["_node_ip_address"] == "127.0.0.1"
    ray = use(Ray([Actor(look(1, working=False))]))
    run(address="auto")
    assert ray.address == "auto" and "_node_ip_address" not in ray.options


def test_a_worker_without_a_place_holds_nobody_up(use):
    use(Ray([Actor(look(2, working=False)), Actor(NEVER)]))
    assert run(workers=2).as_json()["embedded"] == 2


def test_told_to_stop_it_waits_for_what_has_begun(use):
    stop = threading.Event()
    stop.set()
    use(Ray())
    actor = Actor(look(1), look(1), look(2, working=False))
    fleet = driver().fleet.Fleet([actor])
    fleet.look()
    driver().cluster._follow(fleet, stop)
    assert actor.called["stop"] == 1 and fleet.as_json()["embedded"] == 2


def test_a_refusal_of_one_ends_it_with_its_reason_and_its_node(use):
    use(Ray([Actor(look(0, working=False, fault="It has other versions: decoder is '1' there."))]))
    with pytest.raises(NeuralSearchError, match="worker on node ended: It has other versions"):
        run()


def test_a_node_without_our_package_is_refused_with_the_remedy(use):
    missing = driver().exceptions.ActorDiedError()
    missing._actor_init_failed, missing.error_msg = True, "…\nModuleNotFoundError: No module named 'cli'"
    use(Ray([Actor(missing)]))
    with pytest.raises(SettingsError, match=r"No module named 'cli'.* Install the same neural-search"):
        run()


def test_gpus_that_no_node_has_are_refused_and_only_nodes_with_them_counted(use):
    use(Ray(nodes=[{"CPU": 2}]))
    with pytest.raises(SettingsError, match=r"1 node has a CPU and 0\.5 GPUs"):
        run(gpus=0.5)
    done = Actor(look(1, working=False))
    ray = use(Ray([done], nodes=[{"CPU": 2}, {"CPU": 2, "GPU": 1}, {"GPU": 1}]))
    assert run(gpus=0.5).as_json()["workers"] == 1
    assert ray.asked["num_gpus"] == 0.5


def test_an_address_where_nobody_listens_is_refused_at_once(use):
    ray = use(Ray())
    with pytest.raises(SettingsError, match="No Ray answers at 127"):
        run(address=f"127.0.0.1:{free_port()}")
    assert ray.address is None


def test_a_cluster_that_cant_be_reached_or_has_another_ray_is_refused(use):
    class Other(Ray):
        def init(self, address: str, **_: Any) -> None:
            raise RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.40.0")

    use(Other())
    with pytest.raises(SettingsError, match=r"Ray: 2\.40\.0.* Check --address"):
        run()
