"""Why an edge refuses a version of a model: every code that can stand in `Refusal.reason`.

docs/refusals.md shows the same table; a test compares the two.
"""

from __future__ import annotations

BAD_SIGNATURE = "bad-signature"
EXPIRED = "expired"
BAD_LENGTH = "bad-length"
BAD_DIGEST = "bad-digest"
BAD_MANIFEST = "bad-manifest"
BAD_ROLLOUT = "bad-rollout"
FEATURES_UNKNOWN = "features-unknown"
NOT_SIGNED = "not-signed"
NOT_A_MODEL = "not-a-model"
GOLDEN_MISMATCH = "golden-mismatch"
NOT_FINITE = "not-finite"
TOO_SLOW = "too-slow"
PREFLIGHT_CRASHED = "preflight-crashed"
PREFLIGHT_TIMEOUT = "preflight-timeout"
REVOKED = "revoked"
NOT_ON_DISK = "not-on-disk"
CLASS_NOT_LOADED = "class-not-loaded"

MEANINGS: dict[str, str] = {
    BAD_SIGNATURE: "signed metadata does not have the signatures, versions or digests that its roles demand",
    EXPIRED: "signed metadata has expired, so that nothing new may be activated",
    BAD_LENGTH: "a file is longer or shorter than its signed length",
    BAD_DIGEST: "a file, or the digest that the rollout names, differs from the signed digest",
    BAD_MANIFEST: "the manifest cannot be read, or names another model than the one it came with",
    BAD_ROLLOUT: "the rollout document cannot be read, or is for another class or generation than its name",
    FEATURES_UNKNOWN: "the manifest's feature specification is not one that this agent can compute",
    NOT_SIGNED: "the rollout names a version that the models role has not signed",
    NOT_A_MODEL: "the runtime cannot load the file, or it takes another number of features",
    GOLDEN_MISMATCH: "a score of the golden vectors is outside of the manifest's tolerance",
    NOT_FINITE: "a golden vector gave NaN or an infinity",
    TOO_SLOW: "a score takes longer than the edge allows",
    PREFLIGHT_CRASHED: "the trial process died: a signal, or more memory than allowed",
    PREFLIGHT_TIMEOUT: "the trial process did not end in time",
    REVOKED: "the version lies below the signed revocation floor",
    NOT_ON_DISK: "the scorer cannot read a file of the version that the updater placed",
    CLASS_NOT_LOADED: "the rollout sends a class that is not among the site's edge.asset_classes",
}
