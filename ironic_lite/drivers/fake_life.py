"""fake-hardware beside its power: interfaces that do nothing, as slowly as told, so that a whole life can be played."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ironic_lite.clock import triangular_s
from ironic_lite.config import Section
from ironic_lite.domain.node import Node
from ironic_lite.drivers.fake import Delay, FakeInterface, Range, begun
from ironic_lite.drivers.interfaces import Attempt
from ironic_lite.drivers.steps import Done, Outcome, Wait, step


class conf(Section, name="fake"):
    """How slow the fake machine is."""

    deploy_delay = Delay("0", help='Seconds that a deployment, and its end, takes: "a", or "a,b" for a random one.')
    raid_delay = Delay("0", help='Seconds that a RAID step takes: "a", or "a,b" for a random one.')
    rescue_delay = Delay("0", help='Seconds that a rescue, and its end, takes: "a", or "a,b" for a random one.')
    vendor_delay = Delay("0", help='Seconds that a vendor step takes: "a", or "a,b" for a random one.')


def _rest(delay: Range, attempt: Attempt) -> Iterator[float]:
    attempt.permit()
    if (delay_s := triangular_s(*delay)) > 0:
        yield min(delay_s, attempt.deadline.left_s())


class FakeDeploy(FakeInterface):
    """A deployment without an image."""

    @step(deploy=100, abortable=True, repeatable=True, check="over")
    def deploy(self, node: Node, attempt: Attempt) -> Outcome:
        """The machine has its instance."""
        return begun(conf.deploy_delay, attempt)

    def tear_down(self, node: Node, attempt: Attempt) -> Iterator[float]:
        yield from _rest(conf.deploy_delay, attempt)


class FakeRescue(FakeInterface):
    """A rescue without a ramdisk."""

    def rescue(self, node: Node, attempt: Attempt) -> Iterator[float]:
        yield from _rest(conf.rescue_delay, attempt)

    def unrescue(self, node: Node, attempt: Attempt) -> Iterator[float]:
        yield from _rest(conf.rescue_delay, attempt)


class FakeRaid(FakeInterface):
    """RAID without disks."""

    @step(clean=0, deploy=0, service=0, repeatable=True, check="over")
    def create_configuration(
        self, node: Node, attempt: Attempt, *, create_root_volume: bool = True, create_nonroot_volumes: bool = True
    ) -> Outcome:
        """As if target_raid_config had been made."""
        return begun(conf.raid_delay, attempt)

    @step(deploy=0, repeatable=True, check="over")
    def apply_configuration(
        self,
        node: Node,
        attempt: Attempt,
        *,
        raid_config: dict[str, Any],
        create_root_volume: bool = True,
        create_nonroot_volumes: bool = True,
        delete_existing: bool = True,
    ) -> Outcome:
        """As if that configuration had been made."""
        return begun(conf.raid_delay, attempt)

    @step(clean=0, deploy=0, service=0, repeatable=True, check="over")
    def delete_configuration(self, node: Node, attempt: Attempt) -> Outcome:
        """As if there had been one."""
        return begun(conf.raid_delay, attempt)


class FakeVendor(FakeInterface):
    """Steps for trying out what steps can do."""

    @step(clean=0, deploy=0, service=0, repeatable=True)
    def log_passthrough(self, node: Node, attempt: Attempt, *, log_message: str = "passthrough") -> Outcome:
        """Write a line to the conductor's log."""
        attempt.report(log_message)
        return Done()

    @step(service=0, abortable=True, repeatable=True, check="over")
    def trigger_servicewait(self, node: Node, attempt: Attempt) -> Outcome:
        """Bring the node into its waiting state, for a second at least."""
        attempt.permit()
        return Wait("the fake machine to take its time", check_after_s=max(1.0, triangular_s(*conf.vendor_delay)))
