"""Signed delivery by The Update Framework (TUF specification 1.0) over a store of objects.

| role | keys | threshold | signs | expires |
|---|---|---|---|---|
| root | 3 | 2 | the keys of the four roles below | 365 d |
| targets | 2 | 2 | who may sign models and rollouts, nothing else | 365 d |
| models | 2 | 1 | `models/<class>/<version>/<file>` | 180 d |
| rollout | 1 | 1 | `rollout/<class>/<generation>.json` | 30 d |
| snapshot, timestamp | 1 + 1 | 1 | which versions of all of it belong together | 90 d, 45 d |

An edge runs a version only if `models` signed it and `rollout` asks for it with the same digest. The root's and the
targets' keys can lie in a safe: publishing needs only one's own role, snapshot and timestamp.

`client` is for edges, `publisher` for those who hold keys; import the one that you need.
"""
