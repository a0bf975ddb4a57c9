#include "edge/negotiation.h"

#include <array>

#include "edge/semantic_version.h"

namespace slipway {
namespace {

constexpr std::uint32_t kPermissionDenied = 7;    // gRPC
constexpr std::uint32_t kFailedPrecondition = 9;

struct RefusalText {
  std::string_view name;
  std::string_view what;
};
constexpr auto kRefusalTexts = std::to_array<RefusalText>({
#define SLIPWAY_X(enumerator, name, what) {name, what},
    SLIPWAY_NEGOTIATION_REFUSALS(SLIPWAY_X)
#undef SLIPWAY_X
});

LinkClass class_of_wire(std::int32_t type) {
  return type == kWireEdge ? LinkClass::kEdge : type == kWirePeer ? LinkClass::kPeer : LinkClass::kRemote;
}
std::int32_t wire_of_class(LinkClass link_class) {
  return link_class == LinkClass::kEdge ? kWireEdge : link_class == LinkClass::kPeer ? kWirePeer : kWireRemote;
}

std::size_t kem_bytes(const LinkNegotiation& n) { return n.kem_payload ? n.kem_payload->size() : 0; }

template <class Bytes>
std::vector<std::byte> vector_of(const Bytes& bytes) {
  return {bytes.begin(), bytes.end()};
}

// What upstream tells a peer that it turns away, and the reason why a post-quantum link cannot be; otherwise nothing.
NegotiationClose close_of(NegotiationRefusal refusal) {
  switch (refusal) {
    case NegotiationRefusal::kSelf:
      return {kPermissionDenied, "self-connection rejected: same node_id"};
    case NegotiationRefusal::kDeployment:
      return {kPermissionDenied, "deployment_name mismatch"};
    case NegotiationRefusal::kPqcUnavailable:
      return {kFailedPrecondition, "ML-KEM-768 is not available on this node"};
    default:
      return {};
  }
}

}  // namespace

std::string_view negotiation_refusal_name(NegotiationRefusal refusal) { return kRefusalTexts[static_cast<std::size_t>(refusal)].name; }
std::string_view negotiation_refusal_text(NegotiationRefusal refusal) { return kRefusalTexts[static_cast<std::size_t>(refusal)].what; }

// --- both roles ----------------------------------------------------------------------------------------

Negotiation::Negotiation(NegotiationConfig config, LinkKeySource& keys, std::uint64_t now_ms)
    : config_(std::move(config)), keys_(keys), deadline_ms_(now_ms + config_.timeout_ms) {}

NegotiationStep Negotiation::refuse(NegotiationRefusal refusal, std::string_view more) {
  state_ = NegotiationStep::State::kRefused;
  link_.key.reset();
  std::string text(negotiation_refusal_text(refusal));
  if (!more.empty()) {
    text.append(" (").append(more).append(")");
  }
  return {.state = state_, .refusal = refusal, .text = std::move(text), .close = close_of(refusal)};
}

NegotiationStep Negotiation::tick(std::uint64_t now_ms) {
  if (state_ == NegotiationStep::State::kWaiting && now_ms >= deadline_ms_) {
    return refuse(NegotiationRefusal::kTimeout);
  }
  return {.state = state_};
}

std::expected<LinkNegotiation, NegotiationStep> Negotiation::take_negotiation(const Pieces& message, std::uint64_t now_ms) {
  if (state_ != NegotiationStep::State::kWaiting) {
    return std::unexpected(NegotiationStep{.state = state_});
  }
  if (now_ms >= deadline_ms_) {
    return std::unexpected(refuse(NegotiationRefusal::kTimeout));
  }
  auto theirs = decode_negotiation(message);
  if (theirs) {
    return std::move(*theirs);
  }
  switch (theirs.error()) {
    case EdgeFault::kNoMessageType:
    case EdgeFault::kNoLinkType:
      return std::unexpected(refuse(NegotiationRefusal::kNotNegotiation, edge_fault_text(theirs.error()).what));
    case EdgeFault::kTooBig:
      return std::unexpected(refuse(NegotiationRefusal::kTooBig));
    default:
      return std::unexpected(refuse(NegotiationRefusal::kUndecodable, edge_fault_text(theirs.error()).what));
  }
}

void Negotiation::remember(const LinkNegotiation& theirs) {
  link_.link_id = theirs.link_id;
  link_.version = theirs.slim_version;
  link_.node_id = theirs.node_id;
  link_.deployment_name = theirs.deployment_name;
}

NegotiationRefusal Negotiation::check_peer() const {
  if (link_.node_id == config_.node_id) {
    return NegotiationRefusal::kSelf;
  }
  return !config_.deployment_name.empty() && link_.deployment_name != config_.deployment_name ? NegotiationRefusal::kDeployment
                                                                                             : NegotiationRefusal::kNone;
}

// --- acceptor ------------------------------------------------------------------------------------------

NegotiationStep NegotiationAcceptor::take(const Pieces& message, std::uint64_t now_ms) {
  auto taken = take_negotiation(message, now_ms);
  if (!taken) {
    return std::move(taken.error());
  }
  const LinkNegotiation& request = *taken;
  // The order is upstream's: it decides which reason a broken request gets.
  if (config_.enforce_pqc && kem_bytes(request) != kMlKemPublicBytes) {
    return refuse(NegotiationRefusal::kPqcMissing);
  }
  if (request.is_reply) {
    return refuse(NegotiationRefusal::kRole);
  }
  if (!is_semantic_version(request.slim_version)) {
    return refuse(NegotiationRefusal::kVersion);
  }
  const bool has_key = request.ecdh_public_key.size() == kX25519Bytes;
  // Upstream's node lets a link without any key pass where only enforce_pqc is set; its own clients never ask for one.
  if ((config_.strict || config_.enforce_pqc) && !has_key) {
    return refuse(NegotiationRefusal::kKeyMissing);
  }
  if (request.link_id.empty() || request.link_id.size() > kMaxLinkIdBytes) {
    return refuse(NegotiationRefusal::kLinkId);
  }
  remember(request);
  link_.link_class = link_.answered_class = class_of_wire(request.connection_type);
  LinkNegotiation reply{.link_id = request.link_id,
                        .slim_version = config_.version,
                        .is_reply = true,
                        .connection_type = wire_of_class(link_.link_class),
                        .node_id = config_.node_id,
                        .deployment_name = config_.deployment_name};
  if (has_key) {
    if (auto refused = agree(request, &reply)) {
      return std::move(*refused);
    }
  }
  state_ = NegotiationStep::State::kEstablished;
  NegotiationStep step{.state = state_};
  if (link_.link_class == LinkClass::kPeer) {
    // Upstream turns a peer away only after it has answered.
    if (const auto refusal = check_peer(); refusal != NegotiationRefusal::kNone) {
      step = refuse(refusal);
    }
  }
  step.send = encode_negotiation(reply);
  return step;
}

// The key of the link, and what the reply says of it. A step: the link is refused.
std::optional<NegotiationStep> NegotiationAcceptor::agree(const LinkNegotiation& request, LinkNegotiation* reply) {
  const bool hybrid = kem_bytes(request) == kMlKemPublicBytes;
  if (hybrid && keys_.ml_kem() == nullptr) {
    // A classical reply would be refused by everybody who sends such a request.
    return refuse(NegotiationRefusal::kPqcUnavailable);
  }
  const auto pair = keys_.x25519();
  if (!pair) {
    return refuse(NegotiationRefusal::kInternal, pair.error());
  }
  auto key = derive(*pair, request, reply, hybrid);
  if (!key && (config_.strict || config_.enforce_pqc)) {
    return refuse(NegotiationRefusal::kKeyAgreement, key.error());
  }
  if (key) {
    link_.key = *key;
    link_.hybrid = hybrid;
  }
  return std::nullopt;
}

std::expected<LinkKey, std::string> NegotiationAcceptor::derive(const X25519Pair& pair, const LinkNegotiation& request,
                                                                LinkNegotiation* reply, bool hybrid) {
  std::optional<MlKem::Encapsulated> kem;
  if (hybrid) {
    auto encapsulated = keys_.ml_kem()->encapsulate(*request.kem_payload);
    if (!encapsulated) {
      return std::unexpected(encapsulated.error());
    }
    kem = std::move(*encapsulated);
  }
  const auto agreed = pair.agree(request.ecdh_public_key);
  if (!agreed) {
    return std::unexpected(agreed.error());
  }
  auto key = derive_link_key(*agreed, kem ? &kem->secret : nullptr, request.link_id);
  if (key) {
    reply->ecdh_public_key = vector_of(pair.public_key());
    if (kem) {
      reply->kem_payload = std::move(kem->ciphertext);
    }
  }
  return key;
}

// --- initiator -----------------------------------------------------------------------------------------

NegotiationInitiator::NegotiationInitiator(NegotiationConfig config, LinkClass link_class, std::string link_id, LinkKeySource& keys,
                                           std::uint64_t now_ms)
    : Negotiation(std::move(config), keys, now_ms) {
  link_.link_id = std::move(link_id);
  link_.link_class = link_class;
}

NegotiationStep NegotiationInitiator::start() {
  if (state_ != NegotiationStep::State::kWaiting || pair_) {
    return {.state = state_};
  }
  if (link_.link_id.empty() || link_.link_id.size() > kMaxLinkIdBytes) {
    return refuse(NegotiationRefusal::kLinkId);
  }
  auto pair = keys_.x25519();
  if (!pair) {
    return refuse(NegotiationRefusal::kInternal, pair.error());
  }
  pair_ = std::move(*pair);
  LinkNegotiation request{.link_id = link_.link_id,
                          .slim_version = config_.version,
                          .ecdh_public_key = vector_of(pair_->public_key()),
                          .connection_type = wire_of_class(link_.link_class),
                          .node_id = config_.node_id,
                          .deployment_name = config_.deployment_name};
  if (config_.enforce_pqc) {
    if (keys_.ml_kem() == nullptr) {
      return refuse(NegotiationRefusal::kPqcUnavailable);
    }
    auto kem = keys_.ml_kem()->generate();
    if (!kem) {
      return refuse(NegotiationRefusal::kInternal, kem.error());
    }
    kem_key_ = std::move(kem->private_key);
    request.kem_payload = std::move(kem->public_key);
  }
  return {.state = state_, .send = encode_negotiation(request)};
}

NegotiationStep NegotiationInitiator::take(const Pieces& message, std::uint64_t now_ms) {
  auto taken = take_negotiation(message, now_ms);
  if (!taken) {
    return std::move(taken.error());
  }
  const LinkNegotiation& reply = *taken;
  if (!pair_) {
    return refuse(NegotiationRefusal::kRole, "it came before the request was sent");
  }
  if (config_.enforce_pqc && kem_bytes(reply) != kMlKemCiphertextBytes) {
    return refuse(NegotiationRefusal::kPqcMissing);
  }
  if (!reply.is_reply) {
    return refuse(NegotiationRefusal::kRole);
  }
  if (!is_semantic_version(reply.slim_version)) {
    return refuse(NegotiationRefusal::kVersion);
  }
  const bool has_key = reply.ecdh_public_key.size() == kX25519Bytes;
  if ((config_.strict || config_.enforce_pqc) && !has_key) {
    return refuse(NegotiationRefusal::kKeyMissing);
  }
  if (reply.link_id != link_.link_id) {
    return refuse(NegotiationRefusal::kLinkId);
  }
  remember(reply);
  link_.answered_class = class_of_wire(reply.connection_type);
  if (has_key) {
    if (auto refused = agree(reply)) {
      return std::move(*refused);
    }
  }
  if (link_.answered_class == LinkClass::kPeer) {
    if (const auto refusal = check_peer(); refusal != NegotiationRefusal::kNone) {
      return refuse(refusal);
    }
  }
  state_ = NegotiationStep::State::kEstablished;
  pair_.reset();
  kem_key_.reset();
  return {.state = state_};
}

std::optional<NegotiationStep> NegotiationInitiator::agree(const LinkNegotiation& reply) {
  const auto agreed = pair_->agree(reply.ecdh_public_key);
  if (!agreed) {
    return refuse(NegotiationRefusal::kKeyAgreement, agreed.error());
  }
  std::optional<Secret32> kem;
  if (config_.enforce_pqc) {
    auto secret = keys_.ml_kem()->decapsulate(*kem_key_, *reply.kem_payload);
    if (!secret) {
      return refuse(NegotiationRefusal::kKeyAgreement, secret.error());
    }
    kem = *secret;
  }
  auto key = derive_link_key(*agreed, kem ? &*kem : nullptr, link_.link_id);
  if (!key) {
    return refuse(NegotiationRefusal::kInternal, key.error());
  }
  link_.key = *key;
  link_.hybrid = kem.has_value();
  return std::nullopt;
}

}  // namespace slipway
