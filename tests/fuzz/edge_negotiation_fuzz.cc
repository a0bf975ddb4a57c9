// Link negotiation: any messages at any time, to both roles. A link that is established has what its configuration asks
// for; a refused one has a reason and no key; what was decided stays decided. Good messages are built from the input too, so
// that the deeper checks are reached.

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "edge/negotiation.h"
#include "require.h"

namespace {

using namespace slipway;
using State = NegotiationStep::State;

// Takes what is left of the input, piece by piece.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : left_(reinterpret_cast<const std::byte*>(data), size) {}
  std::uint8_t byte() {
    if (left_.empty()) {
      return 0;
    }
    const auto value = static_cast<std::uint8_t>(left_[0]);
    left_ = left_.subspan(1);
    return value;
  }
  Piece bytes(std::size_t size) {
    const Piece taken = left_.first(std::min(size, left_.size()));
    left_ = left_.subspan(taken.size());
    return taken;
  }
  std::string text(std::size_t size) {
    std::string text;
    for (const std::byte b : bytes(size)) {
      text.push_back(static_cast<char>(static_cast<std::uint8_t>(b) & 0x7F));
    }
    return text;
  }
  [[nodiscard]] bool empty() const { return left_.empty(); }

 private:
  Piece left_;
};

class FuzzMlKem final : public MlKem {
 public:
  std::expected<Pair, std::string> generate() override { return Pair{std::make_unique<Private>(), std::vector<std::byte>(kMlKemPublicBytes)}; }
  std::expected<Encapsulated, std::string> encapsulate(std::span<const std::byte> peer_public) override {
    if (peer_public[0] == std::byte{1}) {
      return std::unexpected("invalid");
    }
    return Encapsulated{std::vector<std::byte>(kMlKemCiphertextBytes), Secret32{}};
  }
  std::expected<Secret32, std::string> decapsulate(const Private&, std::span<const std::byte>) override { return Secret32{}; }
};

class FuzzKeys final : public LinkKeySource {
 public:
  explicit FuzzKeys(bool with_ml_kem) : with_ml_kem_(with_ml_kem) {}
  std::expected<X25519Pair, std::string> x25519() override {
    Secret32 key;
    std::ranges::fill(key.writable(), std::byte{5});
    return X25519Pair::from_private(key);
  }
  MlKem* ml_kem() override { return with_ml_kem_ ? &ml_kem_ : nullptr; }

 private:
  bool with_ml_kem_;
  FuzzMlKem ml_kem_;
};

std::vector<std::byte> built_message(Input& input, bool reply) {
  const auto shape = input.byte();
  LinkNegotiation n;
  n.link_id = (shape & 1) != 0 ? input.text(input.byte()) : "link";
  n.slim_version = (shape & 2) != 0 ? input.text(8) : "3.4.6";
  n.is_reply = (shape & 4) != 0 ? !reply : reply;
  const Piece key = input.bytes((shape & 8) != 0 ? input.byte() : kX25519Bytes);
  n.ecdh_public_key.assign(key.begin(), key.end());
  n.connection_type = static_cast<std::int8_t>(input.byte());
  n.node_id = input.text(2);
  n.deployment_name = input.text(1);
  if ((shape & 16) != 0) {
    n.kem_payload.emplace((shape & 32) != 0 ? kMlKemPublicBytes : (shape & 64) != 0 ? kMlKemCiphertextBytes : input.byte(),
                          static_cast<std::byte>(input.byte()));
  }
  auto bytes = encode_negotiation(n);
  const std::array<Piece, 1> pieces{Piece(bytes)};
  const auto read = decode_negotiation(Pieces(pieces));
  FUZZ_REQUIRE(read && *read == n);
  return bytes;
}

void check_step(const NegotiationStep& step, const Negotiation& negotiation, const NegotiationConfig& config) {
  FUZZ_REQUIRE(step.state == negotiation.state());
  FUZZ_REQUIRE((step.refusal == NegotiationRefusal::kNone) == step.text.empty());
  if (step.state == State::kRefused) {
    FUZZ_REQUIRE(!negotiation.link().key);
  }
  if (step.state == State::kEstablished) {
    const NegotiatedLink& link = negotiation.link();
    FUZZ_REQUIRE(!link.link_id.empty() && link.link_id.size() <= kMaxLinkIdBytes);
    FUZZ_REQUIRE(link.key || (!config.strict && !config.enforce_pqc));
    FUZZ_REQUIRE(link.hybrid || !config.enforce_pqc);
  }
}

template <class Role>
void converse(Role& negotiation, const NegotiationConfig& config, Input& input, bool acceptor) {
  std::uint64_t now_ms = 0;
  for (int turn = 0; turn < 4 && !input.empty(); ++turn) {
    now_ms += input.byte() * 10u;
    const State before = negotiation.state();
    NegotiationStep step;
    if (input.byte() % 8 == 0) {
      step = negotiation.tick(now_ms);
    } else {
      const bool built = input.byte() % 4 != 0;
      std::vector<std::byte> message;
      if (built) {
        message = built_message(input, !acceptor);
      } else {
        const Piece raw = input.bytes(input.byte());
        message.assign(raw.begin(), raw.end());
      }
      const std::size_t cut = input.byte() % (message.size() + 1);
      const std::array<Piece, 2> pieces{Piece(message).first(cut), Piece(message).subspan(cut)};
      step = negotiation.take(Pieces(pieces), now_ms);
    }
    check_step(step, negotiation, config);
    FUZZ_REQUIRE(before == State::kWaiting || (step.state == before && step.send.empty()));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  const auto shape = input.byte();
  const NegotiationConfig config{.node_id = input.text(2), .deployment_name = input.text(1), .strict = (shape & 1) != 0,
                                 .enforce_pqc = (shape & 2) != 0};
  FuzzKeys keys((shape & 4) != 0);
  if ((shape & 8) != 0) {
    NegotiationAcceptor acceptor(config, keys, 0);
    converse(acceptor, config, input, true);
    return 0;
  }
  NegotiationInitiator initiator(config, static_cast<LinkClass>(1 + input.byte() % 3), "link", keys, 0);
  if ((shape & 16) != 0) {
    const auto step = initiator.start();
    check_step(step, initiator, config);
    FUZZ_REQUIRE(step.state != State::kWaiting || !step.send.empty());
  }
  converse(initiator, config, input, false);
  return 0;
}
