// Our codec against libprotobuf on random messages: the same values, the same messages behind the node, fields that nobody
// knows included; and the header MAC against one that is computed from libprotobuf's objects with HMAC in one call.

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/unknown_field_set.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <random>

#include "dataplane.pb.h"
#include "edge/link_message.h"
#include "edge/proto_plain.h"
#include "golden.h"
#include "pieces_of.h"

namespace slipway {
namespace {

namespace pb = dataplane::proto::v1;
using google::protobuf::FieldDescriptor;
using google::protobuf::Reflection;
using google::protobuf::util::MessageDifferencer;

// --- random messages ---

class Generator {
 public:
  // plain: texts in ASCII and no unknown fields, as applications send.
  explicit Generator(std::uint32_t seed, bool plain = false) : random_(seed), plain_(plain) {}

  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }
  std::mt19937& random() { return random_; }

  std::string text() {
    static const std::string kParts[] = {"a", "org", "h\xc3\xa9llo", "\xe2\x82\xac", "\xf0\x9f\x98\x80", std::string("\0", 1), "long-name-"};
    std::string text;
    for (auto n = below(4); n > 0; --n) {
      text += kParts[below(plain_ ? 2 : std::size(kParts))];
    }
    return below(20) == 0 ? std::string(below(3000), 'x') : text;
  }

  std::uint64_t number() {
    switch (below(5)) {
      case 0:
        return 0;
      case 1:
        return ~std::uint64_t{0};
      case 2:
        return below(300);
      default:
        return std::uint64_t{random_()} << 32 | random_();
    }
  }

  void fill(google::protobuf::Message* message, int depth = 0) {
    const auto* descriptor = message->GetDescriptor();
    for (int i = 0; i < descriptor->field_count(); ++i) {
      const auto* field = descriptor->field(i);
      const bool likely = field->name() == "header" || field->name() == "source" || field->name() == "destination" ||
                          field->name() == "name" || field->name() == "session";
      if (below(100) < (likely ? 95u : 55u)) {
        set(message, field, depth);
      }
    }
    if (!plain_ && below(4) == 0) {
      unknown(message->GetReflection()->MutableUnknownFields(message));
    }
  }

  pb::Message message() {
    pb::Message message;
    fill(&message);
    if (below(10) < 6) {  // most are publishes
      message.clear_message_type();
      fill(message.mutable_publish());
    }
    return message;
  }

 private:
  void set(google::protobuf::Message* message, const FieldDescriptor* field, int depth) {
    const Reflection* r = message->GetReflection();
    if (field->is_map()) {
      auto& map = *static_cast<pb::Message*>(message)->mutable_metadata();
      for (auto n = below(4); n > 0; --n) {
        map[text()] = text();
      }
      return;
    }
    if (field->is_repeated()) {
      for (auto n = below(3); n > 0; --n) {
        fill(r->AddMessage(message, field), depth + 1);
      }
      return;
    }
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_MESSAGE:
        fill(r->MutableMessage(message, field), depth + 1);
        break;
      case FieldDescriptor::CPPTYPE_STRING:
        r->SetString(message, field, field->type() == FieldDescriptor::TYPE_STRING ? text() : std::string(below(700), '\xff'));
        break;
      case FieldDescriptor::CPPTYPE_BOOL:
        r->SetBool(message, field, below(2) == 0);
        break;
      case FieldDescriptor::CPPTYPE_INT32:
        r->SetInt32(message, field, below(8) == 0 ? static_cast<std::int32_t>(number()) : static_cast<std::int32_t>(below(21)));
        break;
      case FieldDescriptor::CPPTYPE_UINT32:
        r->SetUInt32(message, field, static_cast<std::uint32_t>(number()));
        break;
      case FieldDescriptor::CPPTYPE_UINT64:
        r->SetUInt64(message, field, number());
        break;
      default:
        FAIL() << "a type that the schema has not";
    }
  }

  void unknown(google::protobuf::UnknownFieldSet* fields) {
    for (auto n = 1 + below(3); n > 0; --n) {
      const int field = 50 + static_cast<int>(below(3000));
      switch (below(5)) {
        case 0:
          fields->AddVarint(field, number());
          break;
        case 1:
          fields->AddFixed32(field, 7);
          break;
        case 2:
          fields->AddFixed64(field, 8);
          break;
        case 3:
          fields->AddLengthDelimited(field, text());
          break;
        default:
          unknown(fields->AddGroup(field));
      }
    }
  }

  std::mt19937 random_;
  bool plain_;
};

// --- what must come out ---

pb::SLIMHeader* header_of(pb::Message* m) {
  switch (m->message_type_case()) {
    case pb::Message::kPublish:
      return m->publish().has_header() ? m->mutable_publish()->mutable_header() : nullptr;
    case pb::Message::kSubscribe:
      return m->subscribe().has_header() ? m->mutable_subscribe()->mutable_header() : nullptr;
    case pb::Message::kUnsubscribe:
      return m->unsubscribe().has_header() ? m->mutable_unsubscribe()->mutable_header() : nullptr;
    default:
      return nullptr;
  }
}

// The rules of upstream-node 2.6 on libprotobuf's object.
EdgeFault rule_of(pb::Message m) {
  if (m.message_type_case() == pb::Message::MESSAGE_TYPE_NOT_SET) {
    return EdgeFault::kNoMessageType;
  }
  if (m.has_link()) {
    return m.link().has_link_negotiation() ? EdgeFault::kLinkAgain : EdgeFault::kNoLinkType;
  }
  if (m.has_subscription_ack()) {
    return EdgeFault::kNone;
  }
  const auto* header = header_of(&m);
  if (header == nullptr) {
    return EdgeFault::kNoHeader;
  }
  if (!header->has_source()) {
    return EdgeFault::kNoSource;
  }
  if (!header->source().has_name()) {
    return EdgeFault::kNoSourceName;
  }
  if (!header->has_destination()) {
    return EdgeFault::kNoDestination;
  }
  if (!header->destination().has_name()) {
    return EdgeFault::kNoDestinationName;
  }
  return m.has_publish() && !m.publish().has_session() ? EdgeFault::kNoSession : EdgeFault::kNone;
}

template <class T>
void append(std::string* out, T value) {
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}
void append_text(std::string* out, std::string_view text) {
  append(out, static_cast<std::uint32_t>(text.size()));
  out->append(text);
}
void append_name(std::string* out, bool present, const pb::Name& name) {
  append(out, std::uint8_t{present});
  if (!present) {
    return;
  }
  append(out, std::uint8_t{name.has_name()});
  if (name.has_name()) {
    append(out, name.name().component_0());
    append(out, name.name().component_1());
    append(out, name.name().component_2());
    append(out, std::uint8_t{name.name().has_name_id()});
    if (name.name().has_name_id()) {
      append(out, name.name().name_id().id_0());
      append(out, name.name().name_id().id_1());
    }
  }
  append(out, std::uint8_t{name.has_str_name()});
  if (name.has_str_name()) {
    append_text(out, name.str_name().str_component_0());
    append_text(out, name.str_name().str_component_1());
    append_text(out, name.str_name().str_component_2());
  }
}

std::string mac_of(const pb::SLIMHeader& h) {
  std::string preimage("SLIM-DP-HDR-v1\0", 15);
  append_text(&preimage, golden::kLinkId);
  append_name(&preimage, h.has_source(), h.source());
  append_name(&preimage, h.has_destination(), h.destination());
  append_text(&preimage, h.identity());
  append(&preimage, h.fanout());
  append(&preimage, std::uint8_t{h.has_recv_from()});
  if (h.has_recv_from()) {
    append(&preimage, h.recv_from());
  }
  append(&preimage, std::uint8_t{h.has_forward_to()});
  if (h.has_forward_to()) {
    append(&preimage, h.forward_to());
  }
  append(&preimage, std::uint8_t{h.has_error()});
  if (h.has_error()) {
    append(&preimage, std::uint8_t{h.error()});
  }
  append(&preimage, h.ttl());
  const LinkKey key = golden::link_key();
  std::string mac(32, '\0');
  unsigned int size = 0;
  HMAC(EVP_sha256(), key.bytes().data(), 32, reinterpret_cast<const unsigned char*>(preimage.data()), preimage.size(),
       reinterpret_cast<unsigned char*>(mac.data()), &size);
  return mac;
}

pb::Message delivered(pb::Message m, bool with_mac) {
  if (auto* header = header_of(&m)) {
    header->set_ttl(std::min(header->ttl(), 255u));
    header->clear_recv_from();
    header->clear_forward_to();
    header->set_incoming_conn(5);
    header->clear_header_mac();
    if (with_mac) {
      header->set_header_mac(mac_of(*header));
    }
  }
  return m;
}

std::string content_of(const pb::Message& m) { return m.has_publish() ? m.publish().msg().SerializeAsString() : std::string(); }

std::string difference(const pb::Message& a, const pb::Message& b) {
  std::string report;
  MessageDifferencer differencer;
  differencer.ReportDifferencesToString(&report);
  return differencer.Compare(a, b) ? std::string() : report;
}

class Differential : public testing::TestWithParam<std::uint32_t> {};

void expect_same_behind_the_node(const pb::Message& original, const Bytes& bytes, Generator& generator) {
  const HeaderMac mac = golden::header_mac();
  const auto frame = frame_of(cut_at_random(bytes, generator.random()));
  if (const auto rule = rule_of(original); rule != EdgeFault::kNone) {
    ASSERT_FALSE(frame);
    ASSERT_EQ(frame.error(), rule) << edge_fault_text(frame.error()).what;
    return;
  }
  const bool control = !original.has_publish();
  if (control && !frame && frame.error() == EdgeFault::kControlTooBig) {
    return;
  }
  ASSERT_TRUE(frame) << edge_fault_text(frame.error()).what << '\n' << original.DebugString();
  ASSERT_EQ(check_frame(*frame), FrameFault::kNone);
  const bool with_mac = generator.below(2) == 0;
  const CutMessage body = cut_at_random(body_of(*frame), generator.random());
  const auto back = message_of(*frame, {.mac = with_mac ? &mac : nullptr, .incoming_conn = 5}, body);
  ASSERT_TRUE(back) << edge_fault_text(back.error()).what << '\n' << original.DebugString();
  pb::Message decoded;
  ASSERT_TRUE(decoded.ParseFromArray(back->data(), static_cast<int>(back->size())));
  ASSERT_EQ(difference(delivered(original, with_mac), decoded), "");
  ASSERT_EQ(content_of(original), content_of(decoded));
  // The message that went out makes the same frame again.
  ASSERT_EQ(frame_of(whole(*back)), frame);
}

TEST_P(Differential, MessagesComeOutAsLibprotobufSaysTheyMust) {
  Generator generator(GetParam());
  for (int i = 0; i < 400; ++i) {
    const pb::Message original = generator.message();
    const std::string text = original.SerializeAsString();
    ASSERT_NO_FATAL_FAILURE(expect_same_behind_the_node(original, bytes_of(text), generator));
  }
}

// Several encodings one after another merge; another member of the oneof takes the place of what was before.
TEST_P(Differential, ConcatenatedMessagesMergeAsInLibprotobuf) {
  Generator generator(GetParam() + 1000);
  for (int i = 0; i < 200; ++i) {
    std::string text;
    for (auto n = 1 + generator.below(3); n > 0; --n) {
      text += generator.message().SerializeAsString();
    }
    pb::Message merged;
    ASSERT_TRUE(merged.ParseFromString(text));
    UpstreamMessage parsed;
    if (parse_message(whole(bytes_of(text)).pieces(), &parsed) == EdgeFault::kTooScattered) {
      continue;
    }
    ASSERT_NO_FATAL_FAILURE(expect_same_behind_the_node(merged, bytes_of(text), generator));
  }
}

// What passes our parser passes libprotobuf's, and means the same; upstream's decoder is the stricter of the two.
TEST_P(Differential, BrokenMessagesAreRefusedOrMeanTheSame) {
  Generator generator(GetParam() + 2000);
  std::size_t accepted = 0;
  std::size_t refused = 0;
  for (int i = 0; i < 1500; ++i) {
    std::string text = generator.message().SerializeAsString();
    for (auto n = 1 + generator.below(3); n > 0 && !text.empty(); --n) {
      switch (generator.below(3)) {
        case 0:
          text[generator.below(text.size())] ^= static_cast<char>(1 << generator.below(8));
          break;
        case 1:
          text.resize(generator.below(text.size() + 1));
          break;
        default:
          text.insert(generator.below(text.size() + 1), 1, static_cast<char>(generator.below(256)));
      }
    }
    const Bytes bytes = bytes_of(text);
    UpstreamMessage parsed;
    const EdgeFault fault = parse_message(cut_at_random(bytes, generator.random()).pieces(), &parsed);
    if (fault != EdgeFault::kNone) {
      ++refused;
      continue;
    }
    ++accepted;
    pb::Message decoded;
    ASSERT_TRUE(decoded.ParseFromString(text)) << testing::PrintToString(text);
    ASSERT_NO_FATAL_FAILURE(expect_same_behind_the_node(decoded, bytes, generator)) << testing::PrintToString(text);
  }
  EXPECT_GT(accepted, 50u);
  EXPECT_GT(refused, 50u);
}

TEST_P(Differential, NegotiationsAreReadAndWrittenAsLibprotobufDoes) {
  Generator generator(GetParam() + 3000);
  for (int i = 0; i < 200; ++i) {
    pb::Message message;
    generator.fill(message.mutable_link()->mutable_link_negotiation());
    const auto& payload = message.link().link_negotiation();
    const auto read = decode_negotiation(cut_at_random(bytes_of(message.SerializeAsString()), generator.random()).pieces());
    ASSERT_TRUE(read);
    const auto bytes_equal = [](const std::vector<std::byte>& a, const std::string& b) { return a == bytes_of(b); };
    EXPECT_EQ(read->link_id, payload.link_id());
    EXPECT_EQ(read->slim_version, payload.slim_version());
    EXPECT_EQ(read->is_reply, payload.is_reply());
    EXPECT_TRUE(bytes_equal(read->ecdh_public_key, payload.link_ecdh_public_key()));
    EXPECT_EQ(read->connection_type, payload.connection_type());
    EXPECT_EQ(read->node_id, payload.node_id());
    EXPECT_EQ(read->deployment_name, payload.deployment_name());
    ASSERT_EQ(read->kem_payload.has_value(), payload.has_link_kem_payload());
    EXPECT_TRUE(!read->kem_payload || bytes_equal(*read->kem_payload, payload.link_kem_payload()));

    const Bytes written = encode_negotiation(*read);
    pb::Message again;
    ASSERT_TRUE(again.ParseFromArray(written.data(), static_cast<int>(written.size())));
    message.mutable_link()->mutable_link_negotiation()->GetReflection()->MutableUnknownFields(
        message.mutable_link()->mutable_link_negotiation())->Clear();
    EXPECT_EQ(difference(message, again), "");
  }
}

// Messages in one piece may be read the short way, messages in many never are: both must see the same.
void expect_read_alike(const Bytes& bytes) {
  UpstreamMessage one;
  UpstreamMessage many;
  const EdgeFault fault = parse_message(whole(bytes).pieces(), &one);
  ASSERT_EQ(parse_message(bytewise(bytes).pieces(), &many), fault);
  if (fault != EdgeFault::kNone) {
    return;
  }
  ASSERT_TRUE(static_cast<const UpstreamValues&>(one) == static_cast<const UpstreamValues&>(many));
  for (std::size_t level = 0; level < static_cast<std::size_t>(KeptLevel::kCount); ++level) {
    if (level == static_cast<std::size_t>(KeptLevel::kSessionWhole) && !one.session_in_body) {
      continue;
    }
    std::vector<Range> runs[2];
    for (const auto& [message, list] : {std::pair{&one, &runs[0]}, {&many, &runs[1]}}) {
      for (const KeptRun& run : message->runs()) {
        if (run.level == static_cast<KeptLevel>(level)) {
          list->push_back(run.range);
        }
      }
    }
    ASSERT_EQ(runs[0], runs[1]) << level;
    ASSERT_EQ(one.level_bytes[level], many.level_bytes[level]);
  }
}

TEST_P(Differential, TheShortWayReadsTheSame) {
  for (const bool plain : {true, false}) {
    Generator generator(GetParam() + 4000, plain);
    for (int i = 0; i < 400; ++i) {
      std::string text = generator.message().SerializeAsString();
      ASSERT_NO_FATAL_FAILURE(expect_read_alike(bytes_of(text))) << testing::PrintToString(text);
      for (int k = 0; k < 4 && !text.empty(); ++k) {
        text[generator.below(text.size())] ^= static_cast<char>(1 << generator.below(8));
        ASSERT_NO_FATAL_FAILURE(expect_read_alike(bytes_of(text))) << testing::PrintToString(text);
      }
    }
    for (int i = 0; i < 200; ++i) {
      const pb::Message original = generator.message();
      ASSERT_NO_FATAL_FAILURE(expect_same_behind_the_node(original, bytes_of(original.SerializeAsString()), generator));
    }
  }
}

// Reads with and without what the last messages left in *names; both must see the same, and cover the same. True: the names were
// the last ones.
bool expect_names_alike(const Bytes& bytes, PlainNames* names) {
  UpstreamMessage with;
  UpstreamMessage without;
  PlainMarks marks;
  PlainMarks marks_without;
  const bool plain = read_plain(bytes, bytes.size(), &without, &marks_without);
  EXPECT_EQ(read_plain(bytes, bytes.size(), &with, &marks, names), plain);
  if (!plain) {
    return false;
  }
  EXPECT_TRUE(static_cast<const UpstreamValues&>(with) == static_cast<const UpstreamValues&>(without));
  EXPECT_EQ(with.level_bytes, without.level_bytes);
  EXPECT_EQ(marks.ttl_at, marks_without.ttl_at);
  EXPECT_EQ(marks.incoming_conn_at, marks_without.incoming_conn_at);
  const bool same_runs = std::ranges::equal(with.runs(), without.runs(), [](const KeptRun& a, const KeptRun& b) { return a.level == b.level && a.range == b.range; });
  EXPECT_TRUE(same_runs);
  const CutMessage message = whole(bytes);
  std::array<std::byte, kMacHeaderBytes> covered;
  std::array<std::byte, kMacHeaderBytes> wanted;
  const std::size_t size = HeaderMac::covered(without, message.pieces(), wanted);
  const std::size_t names_size = HeaderMac::covered_names(without, message.pieces());
  if (size != 0 && names->same) {
    const Bytes known(wanted.begin(), wanted.begin() + static_cast<std::ptrdiff_t>(names_size));
    EXPECT_EQ(HeaderMac::covered(with, message.pieces(), covered, known), size);
    EXPECT_EQ(std::memcmp(covered.data(), wanted.data(), size), 0);
  }
  return names->same;
}

TEST_P(Differential, NamesThatCameBeforeChangeNothing) {
  Generator generator(GetParam() + 5000, true);
  PlainNames names;
  std::size_t same = 0;
  pb::SLIMHeader last;
  for (int i = 0; i < 3000; ++i) {
    pb::Message message;
    pb::Publish& publish = *message.mutable_publish();
    generator.fill(publish.mutable_header());
    generator.fill(publish.mutable_session());
    publish.mutable_msg()->mutable_app_payload()->set_blob(std::string(generator.below(300), 'b'));
    if (generator.below(5) != 0) {
      *publish.mutable_header()->mutable_source() = last.source();
      *publish.mutable_header()->mutable_destination() = last.destination();
      if (generator.below(8) == 0) {
        publish.mutable_header()->clear_destination();
      }
      if (generator.below(2) == 0) {  // the sizes before the names are the same then
        publish.mutable_header()->set_identity(std::string(236, 'i'));
        publish.mutable_header()->set_header_mac(std::string(32, 'm'));
      }
    }
    last = publish.header();
    std::string text = message.SerializeAsString();
    same += expect_names_alike(bytes_of(text), &names) ? 1 : 0;
    for (int k = 0; k < 2; ++k) {
      text[generator.below(std::min<std::size_t>(text.size(), 120))] ^= static_cast<char>(1 << generator.below(8));
      expect_names_alike(bytes_of(text), &names);
    }
    ASSERT_FALSE(HasFailure()) << testing::PrintToString(text);
  }
  EXPECT_GT(same, 100u);
}

// Messages of a stream: the same but for identity, ttl, number and payload; and each with single bits turned anywhere before the payload.
TEST_P(Differential, AMessageLikeTheLastIsReadAlike) {
  Generator generator(GetParam() + 6000, true);
  std::size_t alike = 0;
  for (int stream = 0; stream < 40; ++stream) {
    PlainNames names;
    pb::Message message;
    pb::Publish& publish = *message.mutable_publish();
    generator.fill(publish.mutable_header());
    generator.fill(publish.mutable_session());
    publish.mutable_header()->mutable_destination()->mutable_str_name()->set_str_component_0("d");
    publish.mutable_msg()->mutable_app_payload()->set_payload_type("msg");
    if (stream % 4 == 0) {
      (*message.mutable_metadata())["key"] = "value";
    }
    const std::size_t identity_bytes = generator.below(3) == 0 ? generator.below(40) : 236;
    const std::size_t blob_bytes = generator.below(300);
    for (int i = 0; i < 60; ++i) {
      pb::SLIMHeader& header = *publish.mutable_header();
      header.set_identity(std::string(identity_bytes, static_cast<char>('a' + generator.below(26))));
      header.set_header_mac(std::string(32, static_cast<char>('a' + generator.below(26))));
      header.set_ttl(static_cast<std::uint32_t>(generator.below(generator.below(8) == 0 ? 300 : 128)));
      publish.mutable_session()->set_message_id(static_cast<std::uint32_t>(generator.below(8) == 0 ? generator.below(1u << 31) : 100 + generator.below(60)));
      publish.mutable_msg()->mutable_app_payload()->set_blob(std::string(blob_bytes, static_cast<char>(generator.below(256))));
      std::string text = message.SerializeAsString();
      expect_names_alike(bytes_of(text), &names);
      alike += names.shape.size == text.size() && names.shape.others == 0 ? 1 : 0;
      for (int k = 0; k < 6 && names.shape.size == text.size(); ++k) {
        PlainNames scratch = names;
        std::string broken = text;
        broken[generator.below(text.size() - std::min(blob_bytes, text.size() - 1))] ^= static_cast<char>(1 << generator.below(8));
        expect_names_alike(bytes_of(broken), &scratch);
      }
      ASSERT_FALSE(HasFailure()) << testing::PrintToString(text);
    }
  }
  EXPECT_GT(alike, 200u);
}

// Nothing was remembered yet, and nothing is what has come.
TEST(ReadPlain, AnEmptyMessageIsLikeNoOther) {
  PlainNames names;
  UpstreamMessage message;
  EXPECT_FALSE(read_plain(Piece(), 0, &message, nullptr, &names));
  EXPECT_FALSE(names.alike);
}

INSTANTIATE_TEST_SUITE_P(Seeds, Differential, testing::Range(1u, 9u));

}  // namespace
}  // namespace slipway
