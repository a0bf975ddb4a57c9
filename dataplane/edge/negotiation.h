#pragma once
// Link negotiation with upstream's nodes and applications (upstream-node 4.1 - 4.6): one message each way, after which both
// ends have the same link id, class and, as a rule, a key. State machines without I/O: messages and time come in, what is
// to be sent and decided comes out. The control thread runs them; a worker gets only the key.
//
// Order of the caller's work: send step.send first; then, if the link is established, let messages through; or if it is
// refused, end the stream with step.close.

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/link.h"
#include "edge/link_key.h"
#include "edge/link_message.h"
#include "edge/mac.h"

namespace slipway {

// X(enumerator, stable name, what happened and what to do)
#define SLIPWAY_NEGOTIATION_REFUSALS(X)                                                                                              \
  X(kNone, "none", "nothing")                                                                                                      \
  X(kTimeout, "negotiation_timeout", "the other side did not negotiate in time; is it a SLIM node or application of 2.0 or later?")  \
  X(kUndecodable, "negotiation_undecodable", "the first message cannot be decoded; the other side speaks SLIM before 2.0 or something else") \
  X(kTooBig, "negotiation_too_big", "the negotiation message is above 16 KiB")                                                     \
  X(kNotNegotiation, "negotiation_missing", "the first message is no negotiation; SLIM before 1.3 sends none: upgrade the other side") \
  X(kRole, "negotiation_role", "a reply came where a request belongs, or the other way round; both sides believe to be the same end")  \
  X(kVersion, "negotiation_version", "the other side's version is no semantic version (x.y.z)")                                    \
  X(kKeyMissing, "negotiation_key_missing", "the other side gave no X25519 key of 32 bytes; upgrade it, or set `require_header_mac: false`") \
  X(kLinkId, "negotiation_link_id", "the link id is empty, longer than 1024 bytes, or not the one that was asked for")               \
  X(kKeyAgreement, "negotiation_key_agreement", "no key could be agreed on: the other side's public key is invalid")                \
  X(kPqcMissing, "negotiation_pqc_missing", "`enforce_pqc` is set here and the other side offers no ML-KEM-768; set it on both sides")  \
  X(kPqcUnavailable, "negotiation_pqc_unavailable", "the other side wants ML-KEM-768, or `enforce_pqc` is set here, and the OpenSSL in use has none (3.5 is the first with it)") \
  X(kSelf, "negotiation_self", "the peer has this node's own node_id; remove the node's own address from its peers")                \
  X(kDeployment, "negotiation_deployment", "the peer belongs to another deployment; set `domain_name` alike on all peers")          \
  X(kInternal, "negotiation_internal", "this side could not make a key; see the text")

enum class NegotiationRefusal : std::uint8_t {
#define SLIPWAY_X(enumerator, name, what) enumerator,
  SLIPWAY_NEGOTIATION_REFUSALS(SLIPWAY_X)
#undef SLIPWAY_X
};
[[nodiscard]] std::string_view negotiation_refusal_name(NegotiationRefusal refusal);
[[nodiscard]] std::string_view negotiation_refusal_text(NegotiationRefusal refusal);

struct NegotiationConfig {
  std::string node_id;          // what this side calls itself
  std::string deployment_name;  // `domain_name`; not empty: peers must have the same
  std::string version = "3.4.6";
  bool strict = true;           // `require_header_mac`: no link without key
  bool enforce_pqc = false;
  std::uint64_t timeout_ms = kNegotiationTimeoutMs;
};

// What both ends agreed on. The key must go to the worker that owns the link, and nowhere else.
struct NegotiatedLink {
  std::string link_id;
  std::string version;          // of the other side
  std::string node_id;          // of the other side; may be empty
  std::string deployment_name;  // of the other side; may be empty
  LinkClass link_class = LinkClass::kRemote;
  LinkClass answered_class = LinkClass::kRemote;  // initiator: what the other side made of the class asked for
  bool hybrid = false;          // the key is post-quantum
  std::optional<LinkKey> key;   // none: only where this side is not strict

  // Edge and remote links sign and verify; peers do neither, whether they have a key or not.
  [[nodiscard]] bool signs() const { return link_class != LinkClass::kPeer; }
};

// How upstream's node ends a stream that it refuses. status is a gRPC status; 0 goes without a message.
struct NegotiationClose {
  std::uint32_t status = 0;
  std::string message;
};

struct NegotiationStep {
  enum class State : std::uint8_t { kWaiting, kEstablished, kRefused };
  State state = State::kWaiting;
  std::vector<std::byte> send;  // a message, if not empty; before anything else is done, also when refused
  NegotiationRefusal refusal = NegotiationRefusal::kNone;
  std::string text;             // the refusal in a sentence, with what is particular to it
  NegotiationClose close;       // when refused
};

// What the two roles share: the deadline, and one outcome.
class Negotiation {
 public:
  [[nodiscard]] NegotiationStep::State state() const { return state_; }
  [[nodiscard]] std::uint64_t deadline_ms() const { return deadline_ms_; }
  // Refuses when the deadline has passed; otherwise, and after the outcome, does nothing.
  [[nodiscard]] NegotiationStep tick(std::uint64_t now_ms);
  // Once the state is kEstablished.
  [[nodiscard]] const NegotiatedLink& link() const { return link_; }

 protected:
  Negotiation(NegotiationConfig config, LinkKeySource& keys, std::uint64_t now_ms);
  ~Negotiation() = default;
  Negotiation(const Negotiation&) = delete;
  Negotiation& operator=(const Negotiation&) = delete;

  [[nodiscard]] NegotiationStep refuse(NegotiationRefusal refusal, std::string_view more = {});
  [[nodiscard]] std::expected<LinkNegotiation, NegotiationStep> take_negotiation(const Pieces& message, std::uint64_t now_ms);
  void remember(const LinkNegotiation& theirs);
  // What both ends of a peer link check once it is negotiated; kNone: it may stay.
  [[nodiscard]] NegotiationRefusal check_peer() const;

  NegotiationConfig config_;
  LinkKeySource& keys_;
  std::uint64_t deadline_ms_;
  NegotiationStep::State state_ = NegotiationStep::State::kWaiting;
  NegotiatedLink link_;
};

// The side that was dialled. Made when the stream opens.
class NegotiationAcceptor final : public Negotiation {
 public:
  NegotiationAcceptor(NegotiationConfig config, LinkKeySource& keys, std::uint64_t now_ms)
      : Negotiation(std::move(config), keys, now_ms) {}

  // The first message of the stream. Any later one, once the state is no longer kWaiting, is not for the negotiation.
  [[nodiscard]] NegotiationStep take(const Pieces& message, std::uint64_t now_ms);

 private:
  [[nodiscard]] std::optional<NegotiationStep> agree(const LinkNegotiation& request, LinkNegotiation* reply);
  [[nodiscard]] std::expected<LinkKey, std::string> derive(const X25519Pair& pair, const LinkNegotiation& request,
                                                           LinkNegotiation* reply, bool hybrid);
};

// The side that dials.
class NegotiationInitiator final : public Negotiation {
 public:
  // link_class: kEdge, kRemote or kPeer. link_id: not empty, at most kMaxLinkIdBytes; the same again after a reconnect.
  NegotiationInitiator(NegotiationConfig config, LinkClass link_class, std::string link_id, LinkKeySource& keys,
                       std::uint64_t now_ms);

  // The request, once, when the stream has its response headers.
  [[nodiscard]] NegotiationStep start();
  // The first message of the stream.
  [[nodiscard]] NegotiationStep take(const Pieces& message, std::uint64_t now_ms);

 private:
  [[nodiscard]] std::optional<NegotiationStep> agree(const LinkNegotiation& reply);

  std::optional<X25519Pair> pair_;
  std::unique_ptr<MlKem::Private> kem_key_;
};

}  // namespace slipway
