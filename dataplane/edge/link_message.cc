#include "edge/link_message.h"

#include "edge/proto_fields.h"
#include "edge/proto_reader.h"

namespace slipway {
namespace {

using Bytes = std::vector<std::byte>;

void put_varint(Bytes& out, std::uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<std::byte>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<std::byte>(value));
}
void put_bytes(Bytes& out, std::uint32_t field, std::span<const std::byte> content) {
  put_varint(out, field << 3 | static_cast<std::uint32_t>(WireType::kLength));
  put_varint(out, content.size());
  out.insert(out.end(), content.begin(), content.end());
}
void put_text(Bytes& out, std::uint32_t field, std::string_view text) {
  if (!text.empty()) {
    put_bytes(out, field, std::as_bytes(std::span(text)));
  }
}
void put_number(Bytes& out, std::uint32_t field, std::uint64_t value) {
  if (value != 0) {
    put_varint(out, field << 3);
    put_varint(out, value);
  }
}

template <class T>
T content_of(const Pieces& message, const ProtoField& field) {
  T content(field.content.size, typename T::value_type{});
  message.copy(field.content, reinterpret_cast<std::byte*>(content.data()));
  return content;
}

// The message has passed parse_message: wire types are right and texts are UTF-8.
void read_negotiation(ProtoReader& reader, const Pieces& message, LinkNegotiation* out) {
  ProtoField field;
  std::uint64_t value = 0;
  while (reader.next(&field)) {
    if (field.type == WireType::kVarint) {
      if (!reader.varint(&value)) {
        return;
      }
    } else if (!reader.skip(field)) {
      return;
    }
    switch (field.number) {
      case proto_field::kLinkId:
        out->link_id = content_of<std::string>(message, field);
        break;
      case proto_field::kSlimVersion:
        out->slim_version = content_of<std::string>(message, field);
        break;
      case proto_field::kIsReply:
        out->is_reply = value != 0;
        break;
      case proto_field::kEcdhPublicKey:
        out->ecdh_public_key = content_of<Bytes>(message, field);
        break;
      case proto_field::kConnectionType:
        out->connection_type = static_cast<std::int32_t>(value);
        break;
      case proto_field::kNodeId:
        out->node_id = content_of<std::string>(message, field);
        break;
      case proto_field::kDeploymentName:
        out->deployment_name = content_of<std::string>(message, field);
        break;
      case proto_field::kKemPayload:
        out->kem_payload = content_of<Bytes>(message, field);
        break;
      default:
        break;
    }
  }
}

void read_link(ProtoReader& reader, const Pieces& message, LinkNegotiation* out) {
  ProtoField field;
  while (reader.next(&field)) {
    if (field.number != proto_field::kLinkNegotiation) {
      reader.skip(field);
      continue;
    }
    const auto outer = reader.enter(field);
    read_negotiation(reader, message, out);
    if (!reader.leave(outer)) {
      return;
    }
  }
}

bool other_variant(std::uint32_t number) {
  return number <= proto_field::kSubscriptionAck && number != proto_field::kMetadata && number != proto_field::kLink;
}

}  // namespace

std::vector<std::byte> encode_negotiation(const LinkNegotiation& n) {
  Bytes payload;
  put_text(payload, proto_field::kLinkId, n.link_id);
  put_text(payload, proto_field::kSlimVersion, n.slim_version);
  put_number(payload, proto_field::kIsReply, n.is_reply ? 1 : 0);
  if (!n.ecdh_public_key.empty()) {
    put_bytes(payload, proto_field::kEcdhPublicKey, n.ecdh_public_key);
  }
  put_number(payload, proto_field::kConnectionType, static_cast<std::uint64_t>(n.connection_type));
  put_text(payload, proto_field::kNodeId, n.node_id);
  put_text(payload, proto_field::kDeploymentName, n.deployment_name);
  if (n.kem_payload) {
    put_bytes(payload, proto_field::kKemPayload, *n.kem_payload);
  }
  Bytes link;
  put_bytes(link, proto_field::kLinkNegotiation, payload);
  Bytes message;
  put_bytes(message, proto_field::kLink, link);
  return message;
}

std::expected<LinkNegotiation, EdgeFault> decode_negotiation(const Pieces& message) {
  if (message.size() > kMaxNegotiationBytes) {
    return std::unexpected(EdgeFault::kTooBig);
  }
  UpstreamMessage parsed;
  if (const EdgeFault fault = parse_message(message, &parsed); fault != EdgeFault::kNone) {
    return std::unexpected(fault);
  }
  if (parsed.kind != MessageKind::kLink) {
    return std::unexpected(EdgeFault::kNoMessageType);
  }
  if (!parsed.has_link_type) {
    return std::unexpected(EdgeFault::kNoLinkType);
  }
  LinkNegotiation negotiation;
  ProtoReader reader(message);
  ProtoField field;
  while (reader.next(&field)) {
    if (field.number == proto_field::kLink) {
      const auto outer = reader.enter(field);
      read_link(reader, message, &negotiation);
      if (!reader.leave(outer)) {
        break;
      }
      continue;
    }
    if (other_variant(field.number)) {
      negotiation = {};  // a oneof: what came before no longer counts
    }
    reader.skip(field);
  }
  return negotiation;
}

}  // namespace slipway
