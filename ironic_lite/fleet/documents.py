"""The Redfish documents of one BMC: what a client reads of its machine (DMTF DSP0266, DSP2046)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ironic_lite.fleet.device import Identity
from ironic_lite.fleet.hardware import BIOS_VERSION, BMC_VERSION, Hardware
from ironic_lite.fleet.machine import BootEnabled, BootMode, BootSource, Health, Machine, Power, Reset
from ironic_lite.fleet.sensors import SUPPLY_CAPACITY_W, Readings

ROOT: Final = "/redfish/v1"
SYSTEMS, SYSTEM = f"{ROOT}/Systems", f"{ROOT}/Systems/1"
RESET, SECURE_BOOT = f"{SYSTEM}/Actions/ComputerSystem.Reset", f"{SYSTEM}/SecureBoot"
CHASSIS, ENCLOSURE = f"{ROOT}/Chassis", f"{ROOT}/Chassis/1"
THERMAL, POWER, SENSORS = f"{ENCLOSURE}/Thermal", f"{ENCLOSURE}/Power", f"{ENCLOSURE}/Sensors"
STORAGE, CONTROLLER = f"{SYSTEM}/Storage", f"{SYSTEM}/Storage/1"
DRIVES: Final = f"{CONTROLLER}/Drives"
READINGS: Final = frozenset({THERMAL, POWER, SENSORS})
MANAGERS, MANAGER = f"{ROOT}/Managers", f"{ROOT}/Managers/BMC"
EVENT_SERVICE, SUBSCRIPTIONS = f"{ROOT}/EventService", f"{ROOT}/EventService/Subscriptions"
TEST_EVENT: Final = f"{EVENT_SERVICE}/Actions/EventService.SubmitTestEvent"
SESSION_SERVICE, SESSIONS = f"{ROOT}/SessionService", f"{ROOT}/SessionService/Sessions"

Document = dict[str, Any]


def described(path: str, kind: str, name: str, **more: Any) -> Document:
    """A resource: where it is, what it is, its name and what else it tells."""
    return {"@odata.id": path, "@odata.type": f"#{kind}", "Id": path.rpartition("/")[2], "Name": name, **more}


def links(*paths: str) -> list[Document]:
    """References to other resources."""
    return [{"@odata.id": path} for path in paths]


def collection(path: str, kind: str, *members: str) -> Document:
    """A collection and its members."""
    count = len(members)
    return {
        "@odata.id": path,
        "@odata.type": f"#{kind}Collection.{kind}Collection",
        "Name": f"{kind} collection",
        "Members@odata.count": count,
        "Members": links(*members),
    }


def root(identity: Identity) -> Document:
    """The service root, the one document that needs no login."""
    parts = {
        "Systems": SYSTEMS,
        "Chassis": CHASSIS,
        "Managers": MANAGERS,
        "SessionService": SESSION_SERVICE,
        "EventService": EVENT_SERVICE,
        "Registries": f"{ROOT}/Registries",
        "UpdateService": f"{ROOT}/UpdateService",
    }
    return {
        **described(f"{ROOT}/", "ServiceRoot.v1_9_0.ServiceRoot", "Root service"),
        "Id": "RootService",
        "RedfishVersion": "1.11.0",
        "UUID": identity.uuid,
        "Vendor": identity.manufacturer,
        "Product": identity.model,
        "ProtocolFeaturesSupported": {
            "ExpandQuery": {"NoLinks": True, "ExpandAll": False, "Links": False, "Levels": False},
            "FilterQuery": False,
            "SelectQuery": False,
        },
        **{name: {"@odata.id": path} for name, path in parts.items()},
        "Links": {"Sessions": {"@odata.id": SESSIONS}},
    }


def status(health: Health, *, enabled: bool = True) -> Document:
    """A Status object."""
    return {"State": "Enabled" if enabled else "StandbyOffline", "Health": health, "HealthRollup": health}


def boot(machine: Machine) -> Document:
    """The Boot object of the system."""
    return {
        "BootSourceOverrideEnabled": machine.boot_enabled,
        "BootSourceOverrideEnabled@Redfish.AllowableValues": list(BootEnabled),
        "BootSourceOverrideMode": machine.boot_mode,
        "BootSourceOverrideMode@Redfish.AllowableValues": list(BootMode),
        "BootSourceOverrideTarget": machine.boot_source,
        "BootSourceOverrideTarget@Redfish.AllowableValues": list(BootSource),
        "HttpBootUri": machine.http_boot_uri,
    }


def system(identity: Identity, machine: Machine, shown: Power) -> Document:
    """The ComputerSystem, with the power state that the BMC shows."""
    made = Hardware(identity.serial)
    names = ("Bios", "EthernetInterfaces", "Memory", "Processors", "SecureBoot", "Storage")
    parts = {name: f"{SYSTEM}/{name}" for name in names}
    return described(
        SYSTEM,
        "ComputerSystem.v1_13_0.ComputerSystem",
        "System",
        **identity.label(),
        UUID=identity.uuid,
        SystemType="Physical",
        HostName="",
        BiosVersion=BIOS_VERSION,
        PowerState=shown,
        Status=status(machine.health, enabled=shown is not Power.OFF),
        Boot=boot(machine),
        IndicatorLED=machine.lights.get(SYSTEM, "Off"),
        ProcessorSummary={"Count": made.sockets, "Model": "Simulated CPU", "Status": status(Health.OK)},
        MemorySummary={"TotalSystemMemoryGiB": sum(made.modules_gib), "Status": status(Health.OK)},
        **{name: {"@odata.id": path} for name, path in parts.items()},
        Links={"Chassis": links(ENCLOSURE), "ManagedBy": links(MANAGER)},
        Actions={"#ComputerSystem.Reset": {"target": RESET, "ResetType@Redfish.AllowableValues": list(Reset)}},
    )


def secure_boot(machine: Machine) -> Document:
    """The SecureBoot resource: what is set takes effect at the next boot of a machine that boots by UEFI."""
    _ = machine.power  # the plan first: a boot may have come
    return described(
        SECURE_BOOT,
        "SecureBoot.v1_1_0.SecureBoot",
        "Secure boot",
        SecureBootEnable=machine.secure_boot,
        SecureBootCurrentBoot="Enabled" if machine.booted_securely else "Disabled",
        SecureBootMode="UserMode" if machine.boot_mode is BootMode.UEFI else "SetupMode",
    )


def enclosure(identity: Identity, machine: Machine, shown: Power) -> Document:
    """The Chassis."""
    return described(
        ENCLOSURE,
        "Chassis.v1_15_0.Chassis",
        "Chassis",
        **identity.label(),
        ChassisType="RackMount",
        IndicatorLED=machine.lights.get(ENCLOSURE, "Off"),
        LocationIndicatorActive=ENCLOSURE in machine.lights,
        PowerState=shown,
        Status=status(machine.health),
        Thermal={"@odata.id": THERMAL},
        Power={"@odata.id": POWER},
        Sensors={"@odata.id": SENSORS},
        NetworkAdapters={"@odata.id": f"{ENCLOSURE}/NetworkAdapters"},
        Links={"ComputerSystems": links(SYSTEM), "ManagedBy": links(MANAGER)},
    )


def thermal(readings: Readings) -> Document:
    """Temperatures and fans."""
    temperatures = [
        {
            **_member(THERMAL, "Temperatures", index, name),
            "ReadingCelsius": value,
            "UpperThresholdNonCritical": 75,
            "UpperThresholdCritical": 90,
            "PhysicalContext": "Intake" if name == "Inlet" else "CPU",
            "SensorNumber": index + 1,
        }
        for index, (name, value) in enumerate(readings.temperatures_c.items())
    ]
    fans = [
        {
            **_member(THERMAL, "Fans", index, name),
            "Reading": value,
            "ReadingUnits": "RPM",
            "MinReadingRange": 0,
            "MaxReadingRange": 12000,
        }
        for index, (name, value) in enumerate(readings.fans_rpm.items())
    ]
    return described(THERMAL, "Thermal.v1_6_0.Thermal", "Thermal", Temperatures=temperatures, Fans=fans)


def power(identity: Identity, readings: Readings) -> Document:
    """Power supplies, and what the machine draws through them."""
    supplies = [
        {
            **_member(POWER, "PowerSupplies", index, name),
            "PowerSupplyType": "AC",
            "LineInputVoltageType": "AC240V",
            "LineInputVoltage": readings.lines_v[name],
            "LastPowerOutputWatts": watts,
            "PowerCapacityWatts": SUPPLY_CAPACITY_W,
            "Manufacturer": identity.manufacturer,
            "SerialNumber": f"{identity.serial}-P{index + 1}",
        }
        for index, (name, watts) in enumerate(readings.supplies_w.items())
    ]
    consumed = {
        **_member(POWER, "PowerControl", 0, "System power"),
        "PowerConsumedWatts": round(sum(readings.supplies_w.values()), 1),
        "PowerCapacityWatts": SUPPLY_CAPACITY_W * len(supplies),
    }
    return described(POWER, "Power.v1_6_0.Power", "Power", PowerControl=[consumed], PowerSupplies=supplies)


def _member(path: str, group: str, index: int, name: str) -> Document:
    where = f"{path}#/{group}/{index}"
    return {"@odata.id": where, "MemberId": str(index), "Name": name, "Status": status(Health.OK)}


def sensors(readings: Readings) -> list[Document]:
    """Every reading as a Sensor of its own."""
    groups: list[tuple[str, str, Mapping[str, float]]] = [
        ("Temperature", "Cel", readings.temperatures_c),
        ("Rotational", "{rev}/min", readings.fans_rpm),
        ("Power", "W", readings.supplies_w),
        ("Voltage", "V", readings.lines_v),
    ]
    return [
        described(
            f"{SENSORS}/{name}{kind}",
            "Sensor.v1_2_0.Sensor",
            f"{name} {kind.lower()}",
            Reading=value,
            ReadingType=kind,
            ReadingUnits=unit,
            Status=status(Health.OK),
        )
        for kind, unit, values in groups
        for name, value in values.items()
    ]


def manager(identity: Identity) -> Document:
    """The BMC itself."""
    return described(
        MANAGER,
        "Manager.v1_11_0.Manager",
        "BMC",
        ManagerType="BMC",
        Model=f"{identity.model} BMC",
        FirmwareVersion=BMC_VERSION,
        PowerState="On",
        Status=status(Health.OK),
        Links={"ManagerForServers": links(SYSTEM), "ManagerForChassis": links(ENCLOSURE)},
    )


def session_service(timeout_s: float) -> Document:
    """The SessionService."""
    return described(
        SESSION_SERVICE,
        "SessionService.v1_1_8.SessionService",
        "Session service",
        ServiceEnabled=True,
        SessionTimeout=int(timeout_s),
        Sessions={"@odata.id": SESSIONS},
    )


def event_service(retries: int, retry_s: float) -> Document:
    """The EventService."""
    return described(
        EVENT_SERVICE,
        "EventService.v1_5_0.EventService",
        "Event service",
        ServiceEnabled=True,
        Status=status(Health.OK),
        DeliveryRetryAttempts=retries,
        DeliveryRetryIntervalSeconds=int(retry_s),
        EventTypesForSubscription=["StatusChange", "Alert"],
        EventFormatTypes=["Event"],
        Subscriptions={"@odata.id": SUBSCRIPTIONS},
        Actions={"#EventService.SubmitTestEvent": {"target": TEST_EVENT}},
    )


def subscription(ident: str, **told: Any) -> Document:
    """One subscription."""
    path = f"{SUBSCRIPTIONS}/{ident}"
    return described(path, "EventDestination.v1_9_0.EventDestination", f"Subscription {ident}", **told)


def power_event(shown: Power) -> Document:
    """What is told of a power state that was reached (the message registry ResourceEvent)."""
    verb = {"On": "PoweredOn", "Off": "PoweredOff"}.get(shown, shown)
    return {
        "EventType": "StatusChange",
        "MessageId": f"ResourceEvent.1.3.Resource{verb}",
        "Message": f"The resource {SYSTEM} has the power state {shown}.",
        "MessageArgs": [SYSTEM],
        "Severity": "OK",
        "OriginOfCondition": {"@odata.id": SYSTEM},
    }


def session(ident: str, username: str) -> Document:
    """One session, without its token."""
    return described(f"{SESSIONS}/{ident}", "Session.v1_3_0.Session", "Session", UserName=username)


def error(code: str, text: str, *arguments: str) -> Document:
    """Redfish's extended error (DSP0266, error responses)."""
    message = {
        "@odata.type": "#Message.v1_1_1.Message",
        "MessageId": f"Base.1.8.{code}",
        "Message": text,
        "MessageArgs": list(arguments),
        "Severity": "Critical",
        "Resolution": "None.",
    }
    return {"error": {"code": f"Base.1.8.{code}", "message": text, "@Message.ExtendedInfo": [message]}}
