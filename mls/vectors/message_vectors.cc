// Procedures of deserialization and messages.
#include "message/mls_message.h"
#include "message/tree_node.h"
#include "vectors/entry.h"

namespace slipway::mls::vectors {
namespace {

void run_deserialization(const Entry& entry) {
  Bytes header = entry.hex("vlbytes_header");
  size_t length = entry.number("length");
  Bytes vector = header;
  vector.resize(header.size() + length);
  Reader reader(vector);
  expect("length differs", reader.read_length() == length);
  expect_ok("decoding", reader.status());
  expect_equal("header", length_header(length), header);
}

template <class T>
void check_round_trip(const char* field, const Entry& entry) {
  Bytes input = entry.hex(field);
  T value = expect_value(field, decode<T>(input));
  expect_equal(field, encode(value), input);
}

template <class Body>
void check_message(const char* field, const Entry& entry) {
  Bytes input = entry.hex(field);
  auto message = expect_value(field, decode<MlsMessage>(input));
  expect(field, std::holds_alternative<Body>(message.body));
  expect_equal(field, encode(message), input);
}

void check_tree(const Entry& entry) {
  Bytes input = entry.hex("ratchet_tree");
  auto tree = expect_value("ratchet_tree", decode<RatchetTreeView>(input));
  std::vector<std::optional<Node>> nodes;
  Bytes again;
  expect_ok("ratchet_tree", tree.nodes.for_each([&](std::optional<NodeView>&& node) {
    encode_to(again, node);
    return Status();
  }));
  expect_equal("ratchet_tree nodes", again, tree.nodes.encoded());
  check_round_trip<std::vector<std::optional<Node>>>("ratchet_tree", entry);
}

void check_group_secrets(const Entry& entry) {
  Bytes input = entry.hex("group_secrets");
  auto secrets = expect_value("group_secrets", decode<GroupSecrets>(input));
  expect_equal("group_secrets", encode_secret(secrets), input);
}

void run_messages(const Entry& entry) {
  check_message<Welcome>("mls_welcome", entry);
  check_message<GroupInfo>("mls_group_info", entry);
  check_message<KeyPackage>("mls_key_package", entry);
  check_message<PublicMessage>("public_message_application", entry);
  check_message<PublicMessage>("public_message_proposal", entry);
  check_message<PublicMessage>("public_message_commit", entry);
  check_message<PrivateMessage>("private_message", entry);
  check_tree(entry);
  check_group_secrets(entry);
  check_round_trip<Commit>("commit", entry);
  check_round_trip<AddProposal>("add_proposal", entry);
  check_round_trip<UpdateProposal>("update_proposal", entry);
  check_round_trip<RemoveProposal>("remove_proposal", entry);
  check_round_trip<PskProposal>("pre_shared_key_proposal", entry);
  check_round_trip<ReInitProposal>("re_init_proposal", entry);
  check_round_trip<ExternalInitProposal>("external_init_proposal", entry);
  check_round_trip<GroupContextExtensionsProposal>("group_context_extensions_proposal", entry);
}

}  // namespace

std::vector<Kind> message_kinds() {
  return {{"deserialization", run_deserialization}, {"messages", run_messages}};
}

}  // namespace slipway::mls::vectors
