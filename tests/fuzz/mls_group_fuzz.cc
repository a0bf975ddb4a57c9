// A live group fed with mutated handshake messages. The input picks a good message and changes bytes of it;
// in most modes a dishonest member then signs and tags it again, so that the checks behind the signature are
// reached. Whatever comes: no crash, and a message that is refused leaves the state as it was.
#include <memory>
#include <random>

#include "group/state.h"
#include "require.h"

using namespace slipway::mls;

namespace {

constexpr uint64_t kNow_s = 1'700'000'000;

class FixedRandom final : public Random {
 public:
  Status fill_secret(MutableView out) override { return fill_public(out); }
  Status fill_public(MutableView out) override {
    for (uint8_t& byte : out) {
      byte = static_cast<uint8_t>(engine_());
    }
    return {};
  }

 private:
  std::mt19937_64 engine_{1};
};

template <class T>
T take(Result<T> result) {
  FUZZ_REQUIRE(result.has_value());
  return std::move(*result);
}

// Alice forges, Bob receives.
struct World {
  World() : suite(*find_suite(CipherSuite{1})) {
    config.random = &random;
    alice_key = take(SignatureKey::generate(suite, random));
    alice = std::make_unique<Group>(take(Group::create(
        config, {.suite = &suite, .signer = &alice_key, .leaf = leaf("alice"),
                 .lifetime = lifetime_from(kNow_s, 86400)})));
    add_bob_and_carol();
    MessageOptions in_clear;
    in_clear.wire_format = WireFormat::kPublicMessage;
    add_commit(in_clear, {}, {});
    add_commit(in_clear, {carol}, {});
    const PrivateKeyPackage dave = package("dave");
    add_commit(in_clear, {carol}, {dave.message});
    messages.push_back(take(alice->propose_update({}, in_clear)));
    messages.push_back(take(alice->propose_remove(carol, in_clear)));
    messages.push_back(take(alice->propose_add(dave.message, kNow_s, in_clear)));
    const Bytes info = take(alice->group_info());
    SignatureKey erin = take(SignatureKey::generate(suite, random));
    messages.push_back(take(Group::join_external(config, {.now_s = kNow_s, .group_info = info,
                                                          .signer = &erin, .leaf = leaf("erin")}))
                           .commit);
    snapshot = bob->save();
  }

  LeafOptions leaf(const char* name) {
    return {basic_credential(as_view(name)), simple_capabilities({suite.id}), {}};
  }
  PrivateKeyPackage package(const char* name) {
    keys.push_back(take(SignatureKey::generate(suite, random)));
    return take(make_key_package(suite, keys.back(), leaf(name), lifetime_from(kNow_s, 86400), random));
  }
  void add_bob_and_carol() {
    const PrivateKeyPackage bob_package = package("bob");
    const SignatureKey bob_key = keys.back().clone();
    const PrivateKeyPackage carol_package = package("carol");
    const CommitResult added = take(alice->commit(
        {.now_s = kNow_s, .add = {bob_package.message, carol_package.message}, .force_path = true}));
    FUZZ_REQUIRE(alice->accept_commit().has_value());
    carol = added.added[1];
    const PrivateKeyPackage* packages[] = {&bob_package};
    bob = std::make_unique<Group>(take(Group::join(
        config, {.now_s = kNow_s, .welcome = added.welcome, .key_packages = packages, .signer = &bob_key})));
  }
  void add_commit(const MessageOptions& options, std::vector<LeafIndex> remove, std::vector<View> add) {
    CommitOptions commit;
    commit.now_s = kNow_s;
    commit.remove = std::move(remove);
    commit.add = std::move(add);
    commit.force_path = true;
    commit.message = options;
    messages.push_back(take(alice->commit(commit)).commit);
    FUZZ_REQUIRE(alice->refuse_commit().has_value());
  }

  const Suite& suite;
  FixedRandom random;
  GroupConfig config;
  SignatureKey alice_key;
  std::vector<SignatureKey> keys;
  std::unique_ptr<Group> alice;
  std::unique_ptr<Group> bob;
  LeafIndex carol = 0;
  std::vector<Bytes> messages;
  SecretBytes snapshot;
};

// Two bytes say where, one what.
void mutate(Bytes& bytes, View orders) {
  for (size_t i = 0; i + 2 < orders.size() && !bytes.empty(); i += 3) {
    bytes[(orders[i] << 8 | orders[i + 1]) % bytes.size()] ^= orders[i + 2];
  }
}

// The message with a changed or replaced body, signed and tagged by Alice.
Bytes forge(World& world, View message, View orders, bool replace) {
  const MessagePeek peek = take(peek_message(message));
  const PublicMessageView view = take(read_public(peek.body));
  Bytes body = to_bytes(replace ? orders : view.content.body);
  if (!replace) {
    mutate(body, orders);
  }
  ContentView content = view.content;
  content.body = body;
  const GroupState& alice = GroupAccess::state(*world.alice);
  const Signature signature = take(
      sign_content(alice.signer, WireFormat::kPublicMessage, content, alice.now.encoded_context));
  Bytes out;
  FUZZ_REQUIRE(write_public(world.suite, content, {signature, view.auth.confirmation_tag},
                            alice.now.secrets.membership_key, alice.now.encoded_context, out)
                   .has_value());
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static World world;
  if (size < 2) {
    return 0;
  }
  const Bytes& good = world.messages[data[0] % world.messages.size()];
  const View orders(data + 2, size - 2);
  Bytes message;
  if (data[1] % 4 == 0) {
    message = good;
    mutate(message, orders);
  } else {
    message = forge(world, good, orders, data[1] % 4 == 1);
  }
  auto result = world.bob->process(message, kNow_s);
  if (result && std::holds_alternative<ReceivedProposal>(*result)) {
    FUZZ_REQUIRE(world.bob->drop_proposal(std::get<ReceivedProposal>(*result).ref).has_value());
  }
  // A StagedCommit is dropped: nothing has happened, whether it was good or not.
  FUZZ_REQUIRE(equal_secret(world.bob->save(), world.snapshot));
  return 0;
}
