// Procedure of the passive clients and the recorded interop runs: join by Welcome, then follow the group.
#include "group/group.h"
#include "vectors/entry.h"

namespace slipway::mls::vectors {
namespace {

// The PSKs that an entry lists.
class EntryPsks final : public PskStore {
 public:
  explicit EntryPsks(const Entry& entry) {
    for (const Entry& psk : entry.objects("external_psks")) {
      known_.push_back({psk.hex("psk_id"), psk.hex("psk")});
    }
  }
  std::optional<Secret> external_psk(View id) override {
    for (const Known& psk : known_) {
      if (equal(psk.id, id)) {
        return Secret(psk.psk);
      }
    }
    return std::nullopt;
  }

 private:
  struct Known {
    Bytes id;
    Bytes psk;
  };
  std::vector<Known> known_;
};

// The runs were recorded by clients of their own notions of identity and time.
class RecordedPolicy final : public Policy {
 public:
  bool check_lifetime(LeafUse) override { return false; }
  bool valid_successor(const Leaf&, const Leaf&, uint64_t) override { return true; }
  bool same_client(const Leaf&, const Leaf&) override { return true; }
};

void follow(Group& group, const Entry& epoch) {
  constexpr uint64_t kNow_s = 0;
  for (const Bytes& proposal : epoch.hex_list("proposals")) {
    expect_value("proposal", group.process(proposal, kNow_s));
  }
  auto incoming = expect_value("commit", group.process(epoch.hex("commit"), kNow_s));
  auto* staged = std::get_if<StagedCommit>(&incoming);
  expect("the commit is one", staged != nullptr);
  expect_ok("applying the commit", group.apply(std::move(*staged)));
  expect_equal("epoch_authenticator", group.epoch_authenticator(), epoch.hex("epoch_authenticator"));
}

// Save and restore between epochs must not show.
Group restored(const GroupConfig& config, Group group) {
  const SecretBytes saved = group.save();
  return expect_value("restoring", Group::restore(config, saved));
}

// Some recorded scalars lack their leading zero byte.
Bytes private_key(const Entry& entry, const char* field, size_t size) {
  Bytes key = entry.hex(field);
  if (key.size() < size) {
    key.insert(key.begin(), size - key.size(), 0);
  }
  return key;
}

void run_passive_client(const Entry& entry) {
  const Suite& suite = entry.suite();
  const PrivateKeyPackage package = expect_value(
      "key_package", PrivateKeyPackage::import(
                         entry.hex("key_package"),
                         private_key(entry, "init_priv", suite.kem_private_key_size),
                         private_key(entry, "encryption_priv", suite.kem_private_key_size)));
  const SignatureKey signer = expect_value(
      "signature_priv", SignatureKey::import(suite, private_key(entry, "signature_priv",
                                                                suite.signature_private_key_size)));
  EntryPsks psks(entry);
  RecordedPolicy policy;
  GroupConfig config;
  config.psks = &psks;
  config.policy = &policy;
  const Bytes welcome = entry.hex("welcome");
  const Bytes tree = entry.is_null("ratchet_tree") ? Bytes{} : entry.hex("ratchet_tree");
  const PrivateKeyPackage* packages[] = {&package};
  JoinOptions options;
  options.welcome = welcome;
  options.key_packages = packages;
  options.signer = &signer;
  if (!tree.empty()) {
    options.tree = tree;
  }
  Group group = expect_value("joining", Group::join(config, options));
  expect_equal("initial_epoch_authenticator", group.epoch_authenticator(),
               entry.hex("initial_epoch_authenticator"));
  for (const Entry& epoch : entry.objects("epochs")) {
    follow(group, epoch);
    group = restored(config, std::move(group));
  }
}

}  // namespace

std::vector<Kind> group_kinds() {
  std::vector<Kind> kinds;
  for (const char* name :
       {"passive-client-welcome", "passive-client-handling-commit", "passive-client-random",
        "interop-welcome_join", "interop-commit", "interop-application", "interop-external_join",
        "interop-external_proposals", "interop-reinit", "interop-branch"}) {
    kinds.push_back({name, run_passive_client});
  }
  return kinds;
}

}  // namespace slipway::mls::vectors
