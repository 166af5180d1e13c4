"""Kafka's error codes and the error of ours that each becomes (org.apache.kafka.common.protocol.Errors, 4.3)."""

from __future__ import annotations

from headwater.contract.errors import (
    BadInput,
    DataMissing,
    Fenced,
    HeadwaterError,
    Permanent,
    Refused,
    Transient,
    Unreachable,
)

UNKNOWN_SERVER_ERROR = -1
NONE = 0
OFFSET_OUT_OF_RANGE = 1
CORRUPT_MESSAGE = 2
UNKNOWN_TOPIC_OR_PARTITION = 3
LEADER_NOT_AVAILABLE = 5
NETWORK_EXCEPTION = 13  # never sent by a broker: the leader of this partition did not answer
COORDINATOR_LOAD_IN_PROGRESS = 14
COORDINATOR_NOT_AVAILABLE = 15
NOT_COORDINATOR = 16
INVALID_TOPIC = 17
ILLEGAL_GENERATION = 22
UNKNOWN_MEMBER_ID = 25
REBALANCE_IN_PROGRESS = 27
TOPIC_AUTHORIZATION_FAILED = 29
UNSUPPORTED_VERSION = 35
TOPIC_ALREADY_EXISTS = 36
OUT_OF_ORDER_SEQUENCE = 45
DUPLICATE_SEQUENCE = 46
INVALID_PRODUCER_EPOCH = 47
CONCURRENT_TRANSACTIONS = 51
OPERATION_NOT_ATTEMPTED = 55
UNKNOWN_PRODUCER_ID = 59

# After one of these the leaders must be asked for again.
STALE_LEADER = frozenset({3, 5, 6, 8, 9, 13, 56, 72, 74, 75, 80, 100, 103})
DENIED = frozenset({29, 30, 31, 53})  # of a topic, a group, the cluster, a transactional id
STALE_COORDINATOR = frozenset({15, 16, 52})

_NAMES = """
-1 UNKNOWN_SERVER_ERROR|0 NONE|1 OFFSET_OUT_OF_RANGE|2 CORRUPT_MESSAGE|3 UNKNOWN_TOPIC_OR_PARTITION|4 INVALID_FETCH_SIZE
|5 LEADER_NOT_AVAILABLE|6 NOT_LEADER_OR_FOLLOWER|7 REQUEST_TIMED_OUT|8 BROKER_NOT_AVAILABLE|9 REPLICA_NOT_AVAILABLE
|10 MESSAGE_TOO_LARGE|11 STALE_CONTROLLER_EPOCH|12 OFFSET_METADATA_TOO_LARGE|13 NETWORK_EXCEPTION
|14 COORDINATOR_LOAD_IN_PROGRESS|15 COORDINATOR_NOT_AVAILABLE|16 NOT_COORDINATOR|17 INVALID_TOPIC_EXCEPTION
|18 RECORD_LIST_TOO_LARGE|19 NOT_ENOUGH_REPLICAS|20 NOT_ENOUGH_REPLICAS_AFTER_APPEND|21 INVALID_REQUIRED_ACKS
|22 ILLEGAL_GENERATION
|23 INCONSISTENT_GROUP_PROTOCOL|24 INVALID_GROUP_ID|25 UNKNOWN_MEMBER_ID|26 INVALID_SESSION_TIMEOUT
|27 REBALANCE_IN_PROGRESS|28 INVALID_COMMIT_OFFSET_SIZE|29 TOPIC_AUTHORIZATION_FAILED|30 GROUP_AUTHORIZATION_FAILED
|31 CLUSTER_AUTHORIZATION_FAILED|32 INVALID_TIMESTAMP|33 UNSUPPORTED_SASL_MECHANISM|34 ILLEGAL_SASL_STATE
|35 UNSUPPORTED_VERSION|36 TOPIC_ALREADY_EXISTS|37 INVALID_PARTITIONS|38 INVALID_REPLICATION_FACTOR
|39 INVALID_REPLICA_ASSIGNMENT|40 INVALID_CONFIG|41 NOT_CONTROLLER|42 INVALID_REQUEST|43 UNSUPPORTED_FOR_MESSAGE_FORMAT
|44 POLICY_VIOLATION|45 OUT_OF_ORDER_SEQUENCE_NUMBER|46 DUPLICATE_SEQUENCE_NUMBER|47 INVALID_PRODUCER_EPOCH
|48 INVALID_TXN_STATE|49 INVALID_PRODUCER_ID_MAPPING|50 INVALID_TRANSACTION_TIMEOUT|51 CONCURRENT_TRANSACTIONS
|52 TRANSACTION_COORDINATOR_FENCED|53 TRANSACTIONAL_ID_AUTHORIZATION_FAILED|54 SECURITY_DISABLED
|55 OPERATION_NOT_ATTEMPTED|56 KAFKA_STORAGE_ERROR|57 LOG_DIR_NOT_FOUND|58 SASL_AUTHENTICATION_FAILED
|59 UNKNOWN_PRODUCER_ID|60 REASSIGNMENT_IN_PROGRESS|68 NON_EMPTY_GROUP|69 GROUP_ID_NOT_FOUND
|70 FETCH_SESSION_ID_NOT_FOUND|71 INVALID_FETCH_SESSION_EPOCH|72 LISTENER_NOT_FOUND|73 TOPIC_DELETION_DISABLED
|74 FENCED_LEADER_EPOCH|75 UNKNOWN_LEADER_EPOCH|76 UNSUPPORTED_COMPRESSION_TYPE|77 STALE_BROKER_EPOCH
|78 OFFSET_NOT_AVAILABLE|79 MEMBER_ID_REQUIRED|80 PREFERRED_LEADER_NOT_AVAILABLE|81 GROUP_MAX_SIZE_REACHED
|82 FENCED_INSTANCE_ID|83 ELIGIBLE_LEADERS_NOT_AVAILABLE|84 ELECTION_NOT_NEEDED|85 NO_REASSIGNMENT_IN_PROGRESS
|86 GROUP_SUBSCRIBED_TO_TOPIC|87 INVALID_RECORD|88 UNSTABLE_OFFSET_COMMIT|89 THROTTLING_QUOTA_EXCEEDED
|90 PRODUCER_FENCED
|91 RESOURCE_NOT_FOUND|92 DUPLICATE_RESOURCE|93 UNACCEPTABLE_CREDENTIAL|94 INCONSISTENT_VOTER_SET
|95 INVALID_UPDATE_VERSION|96 FEATURE_UPDATE_FAILED|97 PRINCIPAL_DESERIALIZATION_FAILURE|98 SNAPSHOT_NOT_FOUND
|99 POSITION_OUT_OF_RANGE|100 UNKNOWN_TOPIC_ID|101 DUPLICATE_BROKER_REGISTRATION|102 BROKER_ID_NOT_REGISTERED
|103 INCONSISTENT_TOPIC_ID|104 INCONSISTENT_CLUSTER_ID|105 TRANSACTIONAL_ID_NOT_FOUND|106 FETCH_SESSION_TOPIC_ID_ERROR
|107 INELIGIBLE_REPLICA|108 NEW_LEADER_ELECTED|109 OFFSET_MOVED_TO_TIERED_STORAGE|120 TRANSACTION_ABORTABLE
|129 REBOOTSTRAP_REQUIRED
"""
NAMES: dict[int, str] = {}
for _entry in _NAMES.replace("\n", "").split("|"):
    _code, _name = _entry.split()
    NAMES[int(_code)] = _name
_CODES = {name: code for code, name in NAMES.items()}

# `Errors.exception() instanceof RetriableException` in Kafka; 8, 108, 129, after which somebody else is asked;
# and 45, 59, which the writer settles by asking the leader what it has.
RETRIABLE = frozenset(
    {2, 3, 5, 6, 7, 8, 9, 13, 14, 15, 16, 19, 20, 41, 45, 51, 56, 59, 70, 71, 72, 74, 75, 78, 80, 83, 84, 88, 89}
    | {100, 103, 106, 108, 129}
)
_KINDS: dict[int, type[HeadwaterError]] = {
    1: DataMissing,
    109: DataMissing,
    13: Unreachable,
    47: Fenced,
    90: Fenced,
    82: Fenced,
    **dict.fromkeys((29, 30, 31, 33, 34, 44, 53, 54, 58, 73, 93), Refused),
    **dict.fromkeys((10, 17, 18, 32, 35, 37, 38, 40, 42, 43, 50, 76, 87), BadInput),
}
_HINTS = {
    3: "create the topic, or wait until the brokers know of it",
    10: "raise max.message.bytes of the topic, or write smaller records",
    18: "raise max.message.bytes of the topic, or write smaller records",
    19: "min.insync.replicas is not met: start the missing brokers",
    29: "give this user READ, WRITE and DESCRIBE on the topic",
    33: "set sasl_mechanism to one that the broker offers",
    34: "this port takes no login: leave sasl_mechanism out, or use the port that does",
    32: "compare the clocks; message.timestamp.after.max.ms is one hour by default",
    38: "start the other brokers, or ask for a lower replication factor",
    47: "another process runs under the same name, or took over; end this one",
    53: "give this user WRITE on the transactional id",
    87: "a compacted topic demands a key in every record",
    90: "another process runs under the same name, or took over; end this one",
}


def name(code: int) -> str:
    """Kafka's name of a code: `6 NOT_LEADER_OR_FOLLOWER`."""
    return f"{code} {NAMES.get(code, 'UNKNOWN_CODE')}"


def retriable(code: int) -> bool:
    """Whether trying the same call again may succeed."""
    return code in RETRIABLE


def failure(code: int, doing: str, detail: str = "", *, denied: str = "") -> HeadwaterError:
    """Build the error for a code, with Kafka's name of it as its reason; `doing` says what was tried and where.

    `denied` is the hint for one that says that this user may not do it (permissions.py).
    """
    kind = _KINDS.get(code) or (Transient if code in RETRIABLE else Permanent)
    return kind(
        f"{doing}: Kafka answers {name(code)}{': ' + detail if detail else ''}",
        hint=(denied if code in DENIED else "") or _HINTS.get(code, ""),
        reason=NAMES.get(code, ""),
    )


def code_of(error: HeadwaterError) -> int:
    """The code that an error was built for by `failure`; -1 if it was not."""
    return _CODES.get(error.reason, -1)


def check(code: int, doing: str, detail: str = "", *, denied: str = "") -> None:
    """Raise `failure` unless the code is 0."""
    if code != NONE:
        raise failure(code, doing, detail, denied=denied)
