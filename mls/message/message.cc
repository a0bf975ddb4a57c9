#include "message/mls_message.h"

#include "crypto/hash.h"

namespace slipway::mls {

Bytes key_package_tbs(const KeyPackage& key_package) {
  Bytes out;
  Writer writer(out);
  KeyPackage::signed_fields(writer, key_package);
  return out;
}

HashValue key_package_ref(const Suite& suite, const KeyPackage& key_package) {
  return ref_hash(suite, kKeyPackageRefLabel, encode(key_package));
}

Bytes group_info_tbs(const GroupInfo& group_info) {
  Bytes out;
  Writer writer(out);
  GroupInfo::signed_fields(writer, group_info);
  return out;
}

ProposalType Proposal::type() const {
  if (const auto* unknown = std::get_if<UnknownProposal>(&body)) {
    return unknown->type;
  }
  return static_cast<ProposalType>(body.index() + 1);
}

void Proposal::set_type(ProposalType type) {
  switch (type) {
    case ProposalType::kAdd: body.emplace<AddProposal>(); break;
    case ProposalType::kUpdate: body.emplace<UpdateProposal>(); break;
    case ProposalType::kRemove: body.emplace<RemoveProposal>(); break;
    case ProposalType::kPsk: body.emplace<PskProposal>(); break;
    case ProposalType::kReInit: body.emplace<ReInitProposal>(); break;
    case ProposalType::kExternalInit: body.emplace<ExternalInitProposal>(); break;
    case ProposalType::kGroupContextExtensions:
      body.emplace<GroupContextExtensionsProposal>();
      break;
    default: body.emplace<UnknownProposal>().type = type;
  }
}

Result<MessagePeek> peek_message(View message, const Limits& limits) {
  if (message.size() > limits.handshake_message_bytes) {
    return fail(ErrorCode::kTooLarge, "reading an MLSMessage: larger than any message may be");
  }
  Reader reader(message, limits);
  ProtocolVersion version{};
  MessagePeek peek;
  reader(version, peek.wire_format);
  MLS_TRY(reader.status());
  if (version != ProtocolVersion::kMls10) {
    return fail(ErrorCode::kUnsupported, "reading an MLSMessage: version is not mls10");
  }
  if (peek.wire_format < WireFormat::kPublicMessage || peek.wire_format > WireFormat::kKeyPackage) {
    return fail(ErrorCode::kUnsupported, "reading an MLSMessage: unknown wire format");
  }
  peek.body = reader.rest();
  return peek;
}

namespace {

template <class T>
Result<T> decode_body(View message, WireFormat wanted, const Limits& limits) {
  MLS_ASSIGN(MessagePeek peek, peek_message(message, limits));
  if (peek.wire_format != wanted) {
    return fail(ErrorCode::kWrongContentType, "reading an MLSMessage: of another wire format than asked");
  }
  return decode<T>(peek.body, limits);
}

}  // namespace

Result<KeyPackage> decode_key_package(View message, const Limits& limits) {
  return decode_body<KeyPackage>(message, WireFormat::kKeyPackage, limits);
}
Result<Welcome> decode_welcome(View message, const Limits& limits) {
  return decode_body<Welcome>(message, WireFormat::kWelcome, limits);
}
Result<GroupInfo> decode_group_info(View message, const Limits& limits) {
  return decode_body<GroupInfo>(message, WireFormat::kGroupInfo, limits);
}

}  // namespace slipway::mls
