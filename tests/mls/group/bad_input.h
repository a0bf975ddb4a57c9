// A warm group of four, and a member among them who forges: it has a member's keys and no scruples.
#pragma once

#include <functional>

#include "group/state.h"
#include "world.h"

namespace slipway::mls::testing {

class BadInput : public ::testing::Test {
 protected:
  struct PublicClient : Client {
    using Client::Client;
    struct PublicPolicy final : Policy {
      WireFormat handshake_wire_format() override { return WireFormat::kPublicMessage; }
    };
    void policy_public() { config.policy = &public_policy; }
    PublicPolicy public_policy;
  };
  void SetUp() override {
    for (const char* name : {"a", "b", "c", "d"}) {
      clients_.push_back(std::make_unique<PublicClient>(*find_suite(uint16_t{1}), random_, name));
      clients_.back()->policy_public();
    }
    a().create();
    add_all(a(), {&b(), &c(), &d()});
    // Everybody commits once, so that the tree is warm.
    for (const auto& committer : clients_) {
      CommitOptions update = commit_options();
      update.force_path = true;
      auto made = committer->group->commit(update);
      ASSERT_TRUE(made.has_value());
      for (const auto& other : clients_) {
        if (other != committer) {
          ASSERT_TRUE(follow(*other->group, made->commit).has_value());
        }
      }
      ASSERT_TRUE(committer->group->accept_commit().has_value());
    }
  }

  PublicClient& a() { return *clients_[0]; }
  PublicClient& b() { return *clients_[1]; }
  PublicClient& c() { return *clients_[2]; }
  PublicClient& d() { return *clients_[3]; }

  // ---- The forger: has a member's keys and no scruples.
  Bytes forge(Client& member, ContentView content, Bytes tag) {
    const GroupState& state = GroupAccess::state(*member.group);
    auto signature = sign_content(state.signer, WireFormat::kPublicMessage, content,
                                  state.now.encoded_context);
    EXPECT_TRUE(signature.has_value());
    Bytes out;
    EXPECT_TRUE(write_public(*member.suite, content, {*signature, tag},
                             state.now.secrets.membership_key, state.now.encoded_context, out)
                    .has_value());
    return out;
  }
  Bytes forge_commit(View good, const std::function<void(Commit&)>& spoil) {
    auto peek = peek_message(good);
    auto view = read_public(peek->body);
    auto commit = decode<Commit>(view->content.body);
    spoil(*commit);
    const Bytes body = encode(*commit);
    ContentView content = view->content;
    content.body = body;
    return forge(a(), content, to_bytes(view->auth.confirmation_tag));
  }
  Bytes forge_list(std::vector<Proposal> proposals, bool with_path = true) {
    return forge_commit(good_, [&](Commit& commit) {
      commit.proposals.clear();
      for (Proposal& proposal : proposals) {
        commit.proposals.push_back({std::move(proposal)});
      }
      if (!with_path) {
        commit.path.reset();
      }
    });
  }
  template <class Body>
  static Proposal make(Body body) {
    Proposal proposal;
    proposal.body = std::move(body);
    return proposal;
  }
  // A leaf signed again by the committer for its place.
  void sign_again(LeafNode& leaf) {
    ASSERT_TRUE(sign_leaf(*a().suite, a().signer, leaf, a().group->group_id(), a().group->own_leaf())
                    .has_value());
  }

  void make_good() {
    CommitOptions update = commit_options();
    update.force_path = true;
    auto made = a().group->commit(update);
    ASSERT_TRUE(made.has_value());
    good_ = made->commit;
  }
  void expect_refused(const char* what, View message, ErrorCode code) {
    SCOPED_TRACE(what);
    const SecretBytes before = b().group->save();
    auto result = b().group->process(message, kNow_s);
    ASSERT_FALSE(result.has_value()) << "taken";
    EXPECT_EQ(error_name(result.error().code), error_name(code)) << result.error().text;
    EXPECT_TRUE(equal_secret(before, b().group->save())) << "state changed";
  }
  void expect_good_still_works() {
    const Status status = follow(*b().group, good_);
    EXPECT_TRUE(status.has_value()) << status.error().text;
  }

  SeededRandom random_{7};
  std::vector<std::unique_ptr<PublicClient>> clients_;
  Bytes good_;
};

}  // namespace slipway::mls::testing
