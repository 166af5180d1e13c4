"""Decoders: payloads of many formats become readings. Pure; schemas are given as bytes."""

from headwater.contract.decoders.decoded import Decoded, Decoder, make
from headwater.contract.decoders.reasons import SchemaUnknown
from headwater.contract.decoders.spec import DecoderSpec

__all__ = ["Decoded", "Decoder", "DecoderSpec", "SchemaUnknown", "make"]
