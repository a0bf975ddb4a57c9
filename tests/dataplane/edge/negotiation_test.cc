// Link negotiation: the golden exchange, and the matrix of what is accepted and refused (upstream-node 4.2, 4.3, 4.6, 10).

#include "edge/negotiation.h"

#include <gtest/gtest.h>

#include <functional>

#include "fixed_keys.h"
#include "golden.h"
#include "pieces_of.h"

namespace slipway {
namespace {

using State = NegotiationStep::State;
using Refusal = NegotiationRefusal;

NegotiationConfig node_config() { return {.node_id = "golden-node", .version = "2.3.0"}; }
NegotiationConfig client_config() { return {.node_id = "golden-client", .version = "2.3.0"}; }

struct Acceptor {
  explicit Acceptor(NegotiationConfig config = node_config(), bool ml_kem = false)
      : keys(kAcceptorFirst, ml_kem), negotiation(std::move(config), keys, 0) {}
  NegotiationStep take(const Bytes& bytes, std::uint64_t now_ms = 1) { return negotiation.take(whole(bytes).pieces(), now_ms); }
  NegotiationStep take(const LinkNegotiation& n) { return take(encode_negotiation(n)); }
  FixedKeySource keys;
  NegotiationAcceptor negotiation;
};

struct Initiator {
  explicit Initiator(NegotiationConfig config = client_config(), LinkClass link_class = LinkClass::kEdge, bool ml_kem = false)
      : keys(kInitiatorFirst, ml_kem), negotiation(std::move(config), link_class, std::string(golden::kLinkId), keys, 0) {}
  NegotiationStep take(const Bytes& bytes, std::uint64_t now_ms = 1) { return negotiation.take(whole(bytes).pieces(), now_ms); }
  NegotiationStep take(const LinkNegotiation& n) { return take(encode_negotiation(n)); }
  FixedKeySource keys;
  NegotiationInitiator negotiation;
};

LinkNegotiation decoded(const Bytes& bytes) {
  const auto n = decode_negotiation(whole(bytes).pieces());
  EXPECT_TRUE(n);
  return n.value_or(LinkNegotiation{});
}
LinkNegotiation request() { return decoded(golden::kNegotiationRequest); }
LinkNegotiation reply() { return decoded(golden::kNegotiationReply); }

Bytes key_of(const NegotiatedLink& link) {
  return link.key ? Bytes(link.key->bytes().begin(), link.key->bytes().end()) : Bytes{};
}

// --- messages ---

TEST(LinkMessage, GoldenMessagesAreWhatTheyWere) {
  const auto n = request();
  EXPECT_EQ(n.link_id, golden::kLinkId);
  EXPECT_EQ(n.slim_version, "2.3.0");
  EXPECT_FALSE(n.is_reply);
  EXPECT_EQ(n.ecdh_public_key.size(), 32u);
  EXPECT_EQ(n.connection_type, kWireEdge);
  EXPECT_EQ(n.node_id, "golden-client");
  EXPECT_FALSE(n.kem_payload);
  EXPECT_EQ(encode_negotiation(n), golden::kNegotiationRequest);
  EXPECT_EQ(encode_negotiation(reply()), golden::kNegotiationReply);
  EXPECT_EQ(decode_negotiation(bytewise(golden::kNegotiationRequest).pieces()), n);
}

TEST(LinkMessage, AnEmptyKemPayloadIsPresent) {
  auto n = request();
  n.kem_payload.emplace();
  EXPECT_EQ(decoded(encode_negotiation(n)), n);
  n.connection_type = -7;
  n.deployment_name = "d";
  EXPECT_EQ(decoded(encode_negotiation(n)), n);
}

TEST(LinkMessage, EmptyTextsAndBytesThatArePresent) {
  EXPECT_EQ(decoded(golden::from_hex("2a10 0a0e 0a00 1200 1800 2200 2800 3200 3a00")), LinkNegotiation{});
  EXPECT_EQ(decoded(golden::from_hex("2a04 0a02 4200")).kem_payload, std::vector<std::byte>{});
}

TEST(LinkMessage, TwoHalvesMergeAndAnotherMemberOfTheOneofForgets) {
  auto first = request();
  Bytes bytes = encode_negotiation(first);
  const Bytes second = encode_negotiation({.node_id = "later"});
  bytes.insert(bytes.end(), second.begin(), second.end());
  first.node_id = "later";
  EXPECT_EQ(decoded(bytes), first);

  Bytes forgets = encode_negotiation(request());
  forgets.insert(forgets.end(), golden::kAck.begin(), golden::kAck.end());
  forgets.insert(forgets.end(), second.begin(), second.end());
  EXPECT_EQ(decoded(forgets), LinkNegotiation{.node_id = "later"});
}

// --- acceptor ---

TEST(NegotiationAcceptor, TheGoldenExchange) {
  Acceptor acceptor;
  const auto step = acceptor.take(golden::kNegotiationRequest);
  EXPECT_EQ(step.state, State::kEstablished);
  EXPECT_EQ(step.send, golden::kNegotiationReply);
  const auto& link = acceptor.negotiation.link();
  EXPECT_EQ(key_of(link), golden::kLinkKey);
  EXPECT_EQ(link.link_id, golden::kLinkId);
  EXPECT_EQ(link.node_id, "golden-client");
  EXPECT_EQ(link.version, "2.3.0");
  EXPECT_EQ(link.link_class, LinkClass::kEdge);
  EXPECT_TRUE(link.signs());
  EXPECT_FALSE(link.hybrid);
}

// A request with one thing changed, what a strict and a lenient acceptor make of it.
struct Change {
  const char* what;
  std::function<void(LinkNegotiation&)> change;
  Refusal strict;
  Refusal lenient;
  bool key = true;  // where it is accepted
};

const Change kChanges[] = {
    {"nothing", [](auto&) {}, Refusal::kNone, Refusal::kNone},
    {"a reply", [](auto& n) { n.is_reply = true; }, Refusal::kRole, Refusal::kRole},
    {"an old version", [](auto& n) { n.slim_version = "0.1.0"; }, Refusal::kNone, Refusal::kNone},
    {"a pre-release", [](auto& n) { n.slim_version = "2.0.0-alpha.8"; }, Refusal::kNone, Refusal::kNone},
    {"no version", [](auto& n) { n.slim_version = ""; }, Refusal::kVersion, Refusal::kVersion},
    {"v2.3.0", [](auto& n) { n.slim_version = "v2.3.0"; }, Refusal::kVersion, Refusal::kVersion},
    {"2.3", [](auto& n) { n.slim_version = "2.3"; }, Refusal::kVersion, Refusal::kVersion},
    {"no key", [](auto& n) { n.ecdh_public_key.clear(); }, Refusal::kKeyMissing, Refusal::kNone, false},
    {"a short key", [](auto& n) { n.ecdh_public_key.pop_back(); }, Refusal::kKeyMissing, Refusal::kNone, false},
    {"a long key", [](auto& n) { n.ecdh_public_key.push_back({}); }, Refusal::kKeyMissing, Refusal::kNone, false},
    {"a key of zeros", [](auto& n) { n.ecdh_public_key.assign(32, {}); }, Refusal::kKeyAgreement, Refusal::kNone, false},
    {"no link id", [](auto& n) { n.link_id = ""; }, Refusal::kLinkId, Refusal::kLinkId},
    {"a long link id", [](auto& n) { n.link_id.assign(kMaxLinkIdBytes + 1, 'l'); }, Refusal::kLinkId, Refusal::kLinkId},
    {"no node id", [](auto& n) { n.node_id = ""; }, Refusal::kNone, Refusal::kNone},
    {"a KEM payload of another length", [](auto& n) { n.kem_payload.emplace(10); }, Refusal::kNone, Refusal::kNone},
    {"a KEM key", [](auto& n) { n.kem_payload.emplace(kMlKemPublicBytes, std::byte{0x11}); }, Refusal::kPqcUnavailable,
     Refusal::kPqcUnavailable},
};

TEST(NegotiationAcceptor, WhatAStrictAndALenientNodeAccept) {
  for (const bool strict : {true, false}) {
    for (const Change& c : kChanges) {
      NegotiationConfig config = node_config();
      config.strict = strict;
      Acceptor acceptor(config);
      LinkNegotiation changed = request();
      c.change(changed);
      const auto step = acceptor.take(changed);
      const Refusal expected = strict ? c.strict : c.lenient;
      EXPECT_EQ(step.refusal, expected) << c.what << (strict ? ", strict: " : ": ") << step.text;
      if (expected != Refusal::kNone) {
        EXPECT_EQ(step.state, State::kRefused) << c.what;
        EXPECT_TRUE(step.send.empty()) << c.what;
        EXPECT_EQ(step.close.status, expected == Refusal::kPqcUnavailable ? 9u : 0u) << c.what;
        EXPECT_FALSE(acceptor.negotiation.link().key) << c.what;
        continue;
      }
      EXPECT_EQ(step.state, State::kEstablished) << c.what;
      const auto answer = decoded(step.send);
      EXPECT_EQ(acceptor.negotiation.link().key.has_value(), c.key) << c.what;
      EXPECT_EQ(answer.ecdh_public_key.size(), c.key ? 32u : 0u) << c.what;
      EXPECT_EQ(answer.link_id, changed.link_id) << c.what;
      EXPECT_TRUE(answer.is_reply);
      EXPECT_FALSE(answer.kem_payload) << c.what;
    }
  }
}

TEST(NegotiationAcceptor, ClassesAreEchoedAndUnknownOnesAreRemote) {
  for (const auto& [wire, echoed, link_class] :
       {std::tuple{kWireEdge, kWireEdge, LinkClass::kEdge}, {kWireRemote, kWireRemote, LinkClass::kRemote},
        {kWirePeer, kWirePeer, LinkClass::kPeer}, {77, kWireRemote, LinkClass::kRemote}, {-1, kWireRemote, LinkClass::kRemote}}) {
    Acceptor acceptor;
    LinkNegotiation changed = request();
    changed.connection_type = wire;
    const auto step = acceptor.take(changed);
    ASSERT_EQ(step.state, State::kEstablished);
    EXPECT_EQ(decoded(step.send).connection_type, echoed);
    EXPECT_EQ(acceptor.negotiation.link().link_class, link_class);
    EXPECT_EQ(acceptor.negotiation.link().signs(), link_class != LinkClass::kPeer);
    EXPECT_TRUE(acceptor.negotiation.link().key);
  }
}

TEST(NegotiationAcceptor, PeersAreTurnedAwayAfterThePositiveAnswer) {
  LinkNegotiation peer = request();
  peer.connection_type = kWirePeer;
  peer.node_id = "golden-node";
  Acceptor self;
  auto step = self.take(peer);
  EXPECT_EQ(step.refusal, Refusal::kSelf);
  EXPECT_EQ(step.close.status, 7u);
  EXPECT_EQ(step.close.message, "self-connection rejected: same node_id");
  EXPECT_TRUE(decoded(step.send).is_reply);
  EXPECT_FALSE(self.negotiation.link().key);

  NegotiationConfig config = node_config();
  config.deployment_name = "here";
  peer.node_id = "other";
  peer.deployment_name = "there";
  Acceptor stranger(config);
  step = stranger.take(peer);
  EXPECT_EQ(step.refusal, Refusal::kDeployment);
  EXPECT_EQ(step.close.status, 7u);
  EXPECT_EQ(step.close.message, "deployment_name mismatch");
  EXPECT_EQ(decoded(step.send).deployment_name, "here");

  peer.deployment_name = "here";
  Acceptor same(config);
  EXPECT_EQ(same.take(peer).state, State::kEstablished);

  // Without a deployment of our own any peer will do; and an edge is never asked.
  peer.deployment_name = "there";
  Acceptor open;
  EXPECT_EQ(open.take(peer).state, State::kEstablished);
  peer.connection_type = kWireEdge;
  peer.node_id = "golden-node";
  Acceptor edge(config);
  EXPECT_EQ(edge.take(peer).state, State::kEstablished);
}

TEST(NegotiationAcceptor, FirstMessagesThatAreNone) {
  const auto refusal_of = [](const Bytes& bytes) {
    Acceptor acceptor;
    const auto step = acceptor.take(bytes);
    EXPECT_EQ(step.state, State::kRefused);
    EXPECT_TRUE(step.send.empty());
    EXPECT_EQ(step.close.status, 0u);
    EXPECT_FALSE(step.text.empty());
    return step.refusal;
  };
  EXPECT_EQ(refusal_of({}), Refusal::kNotNegotiation);                               // an empty Message
  EXPECT_EQ(refusal_of(golden::kSubscribe), Refusal::kNotNegotiation);
  EXPECT_EQ(refusal_of(golden::kPublish), Refusal::kNotNegotiation);
  EXPECT_EQ(refusal_of(golden::from_hex("2a00")), Refusal::kNotNegotiation);         // a Link without link_type
  EXPECT_EQ(refusal_of(golden::from_hex("3a021001")), Refusal::kNotNegotiation);     // a member that nobody knows
  EXPECT_EQ(refusal_of(golden::from_hex("ffffff")), Refusal::kUndecodable);
  EXPECT_EQ(refusal_of(golden::from_hex("2a05 0a03 0a01ff")), Refusal::kUndecodable);  // a link id that is not UTF-8
  // SLIM 1.0: the header's field 3 is a number there.
  EXPECT_EQ(refusal_of(golden::from_hex("0a04 0a02 1801")), Refusal::kUndecodable);
  LinkNegotiation large = request();
  large.node_id.assign(kMaxNegotiationBytes, 'n');
  EXPECT_EQ(refusal_of(encode_negotiation(large)), Refusal::kTooBig);
}

TEST(NegotiationAcceptor, SilenceEndsAfterTheTimeout) {
  Acceptor acceptor;
  EXPECT_EQ(acceptor.negotiation.deadline_ms(), 5'000u);
  EXPECT_EQ(acceptor.negotiation.tick(4'999).state, State::kWaiting);
  const auto step = acceptor.negotiation.tick(5'000);
  EXPECT_EQ(step.state, State::kRefused);
  EXPECT_EQ(step.refusal, Refusal::kTimeout);
  EXPECT_EQ(step.close.status, 0u);

  Acceptor late;
  EXPECT_EQ(late.take(golden::kNegotiationRequest, 5'000).refusal, Refusal::kTimeout);

  Acceptor done;
  EXPECT_EQ(done.take(golden::kNegotiationRequest).state, State::kEstablished);
  EXPECT_EQ(done.negotiation.tick(1'000'000).state, State::kEstablished);
}

TEST(NegotiationAcceptor, ASecondNegotiationIsIgnored) {
  Acceptor acceptor;
  EXPECT_EQ(acceptor.take(golden::kNegotiationRequest).state, State::kEstablished);
  LinkNegotiation second = request();
  second.link_id = "another";
  const auto step = acceptor.take(second);
  EXPECT_EQ(step.state, State::kEstablished);
  EXPECT_TRUE(step.send.empty());
  EXPECT_EQ(acceptor.negotiation.link().link_id, golden::kLinkId);
}

// --- initiator ---

TEST(NegotiationInitiator, TheGoldenExchange) {
  Initiator initiator;
  const auto start = initiator.negotiation.start();
  EXPECT_EQ(start.state, State::kWaiting);
  EXPECT_EQ(start.send, golden::kNegotiationRequest);
  const auto step = initiator.take(golden::kNegotiationReply);
  EXPECT_EQ(step.state, State::kEstablished);
  EXPECT_TRUE(step.send.empty());
  EXPECT_EQ(key_of(initiator.negotiation.link()), golden::kLinkKey);
  EXPECT_EQ(initiator.negotiation.link().node_id, "golden-node");
  EXPECT_EQ(initiator.negotiation.link().link_class, LinkClass::kEdge);
}

TEST(NegotiationInitiator, WhatItRefuses) {
  const std::tuple<const char*, std::function<void(LinkNegotiation&)>, Refusal, Refusal> changes[] = {
      {"nothing", [](auto&) {}, Refusal::kNone, Refusal::kNone},
      {"a request", [](auto& n) { n.is_reply = false; }, Refusal::kRole, Refusal::kRole},
      {"a bad version", [](auto& n) { n.slim_version = "2.3"; }, Refusal::kVersion, Refusal::kVersion},
      {"no key", [](auto& n) { n.ecdh_public_key.clear(); }, Refusal::kKeyMissing, Refusal::kNone},
      {"another link id", [](auto& n) { n.link_id += "x"; }, Refusal::kLinkId, Refusal::kLinkId},
      {"a key of zeros", [](auto& n) { n.ecdh_public_key.assign(32, {}); }, Refusal::kKeyAgreement, Refusal::kKeyAgreement},
      {"a KEM payload nobody asked for", [](auto& n) { n.kem_payload.emplace(kMlKemCiphertextBytes); }, Refusal::kNone, Refusal::kNone},
  };
  for (const bool strict : {true, false}) {
    for (const auto& [what, change, if_strict, if_lenient] : changes) {
      NegotiationConfig config = client_config();
      config.strict = strict;
      Initiator initiator(config);
      ASSERT_FALSE(initiator.negotiation.start().send.empty());
      LinkNegotiation changed = reply();
      change(changed);
      const auto step = initiator.take(changed);
      EXPECT_EQ(step.refusal, strict ? if_strict : if_lenient) << what << (strict ? ", strict" : "") << step.text;
    }
  }
}

TEST(NegotiationInitiator, AnotherClassInTheAnswerIsRememberedBesideTheOneAskedFor) {
  Initiator initiator;
  ASSERT_FALSE(initiator.negotiation.start().send.empty());
  LinkNegotiation changed = reply();
  changed.connection_type = kWireRemote;
  EXPECT_EQ(initiator.take(changed).state, State::kEstablished);
  EXPECT_EQ(initiator.negotiation.link().link_class, LinkClass::kEdge);
  EXPECT_EQ(initiator.negotiation.link().answered_class, LinkClass::kRemote);
}

TEST(NegotiationInitiator, APeerThatIsOurselvesOrAStrangerIsLeft) {
  NegotiationConfig config = client_config();
  config.deployment_name = "here";
  LinkNegotiation answer = reply();
  answer.connection_type = kWirePeer;
  answer.deployment_name = "here";
  answer.node_id = config.node_id;
  Initiator self(config, LinkClass::kPeer);
  ASSERT_FALSE(self.negotiation.start().send.empty());
  EXPECT_EQ(self.take(answer).refusal, Refusal::kSelf);
  answer.node_id = "other";
  answer.deployment_name = "there";
  Initiator stranger(config, LinkClass::kPeer);
  ASSERT_FALSE(stranger.negotiation.start().send.empty());
  EXPECT_EQ(stranger.take(answer).refusal, Refusal::kDeployment);
}

TEST(NegotiationInitiator, AReplyBeforeTheRequestAndAnEmptyLinkId) {
  Initiator early;
  EXPECT_EQ(early.take(golden::kNegotiationReply).refusal, Refusal::kRole);
  FixedKeySource keys(kInitiatorFirst);
  NegotiationInitiator nameless(client_config(), LinkClass::kEdge, "", keys, 0);
  EXPECT_EQ(nameless.start().refusal, Refusal::kLinkId);
}

// --- both, post-quantum ---

TEST(NegotiationHybrid, BothEndsAgree) {
  NegotiationConfig config = client_config();
  config.enforce_pqc = true;
  for (const bool acceptor_enforces : {true, false}) {
    Initiator initiator(config, LinkClass::kRemote, true);
    NegotiationConfig node = node_config();
    node.enforce_pqc = acceptor_enforces;
    Acceptor acceptor(node, true);
    const auto request_bytes = initiator.negotiation.start().send;
    const auto answered = acceptor.take(request_bytes);
    ASSERT_EQ(answered.state, State::kEstablished) << answered.text;
    const auto done = initiator.take(answered.send);
    ASSERT_EQ(done.state, State::kEstablished) << done.text;
    EXPECT_TRUE(acceptor.negotiation.link().hybrid);
    EXPECT_TRUE(initiator.negotiation.link().hybrid);
    EXPECT_EQ(key_of(initiator.negotiation.link()), key_of(acceptor.negotiation.link()));
    EXPECT_EQ(key_of(initiator.negotiation.link()), golden::from_hex("123f696ec7d9ecb9254db45e98903a9e09a05019ad8e88d14cf878d0bfb6d58a"));
  }
}

TEST(NegotiationHybrid, WhoEnforcesItRefusesWhoHasItNot) {
  NegotiationConfig node = node_config();
  node.enforce_pqc = true;
  Acceptor enforcing(node, true);
  EXPECT_EQ(enforcing.take(golden::kNegotiationRequest).refusal, Refusal::kPqcMissing);

  // Nor a link without any key, however lenient the node is otherwise.
  node.strict = false;
  LinkNegotiation keyless = request();
  keyless.ecdh_public_key.clear();
  keyless.kem_payload.emplace(kMlKemPublicBytes, std::byte{0x11});
  Acceptor lenient(node, true);
  EXPECT_EQ(lenient.take(keyless).refusal, Refusal::kKeyMissing);

  NegotiationConfig client = client_config();
  client.enforce_pqc = true;
  Initiator initiator(client, LinkClass::kEdge, true);
  ASSERT_FALSE(initiator.negotiation.start().send.empty());
  EXPECT_EQ(initiator.take(golden::kNegotiationReply).refusal, Refusal::kPqcMissing);

  Initiator without_library(client, LinkClass::kEdge, false);
  EXPECT_EQ(without_library.negotiation.start().refusal, Refusal::kPqcUnavailable);
}

TEST(NegotiationHybrid, AnInvalidKemKeyIsFatalOnlyToTheStrict) {
  LinkNegotiation bad = request();
  bad.kem_payload.emplace(kMlKemPublicBytes, std::byte{0xFF});
  Acceptor strict(node_config(), true);
  EXPECT_EQ(strict.take(bad).refusal, Refusal::kKeyAgreement);
  NegotiationConfig config = node_config();
  config.strict = false;
  Acceptor lenient(config, true);
  EXPECT_EQ(lenient.take(bad).state, State::kEstablished);
  EXPECT_FALSE(lenient.negotiation.link().key);
  config.enforce_pqc = true;
  Acceptor enforcing(config, true);
  EXPECT_EQ(enforcing.take(bad).refusal, Refusal::kKeyAgreement);
}

TEST(Negotiation, EveryRefusalHasANameAndASentence) {
  for (int i = 0; i <= static_cast<int>(Refusal::kInternal); ++i) {
    EXPECT_FALSE(negotiation_refusal_name(static_cast<Refusal>(i)).empty());
    EXPECT_FALSE(negotiation_refusal_text(static_cast<Refusal>(i)).empty());
  }
}

}  // namespace
}  // namespace slipway
