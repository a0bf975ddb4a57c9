#include "describe.h"

#include <fmt/format.h>

#include <algorithm>

#include "bytes_text.h"
#include "message/mls_message.h"
#include "message/tree_node.h"

namespace slipway::mls::tool {
namespace {

constexpr std::string_view kSnapshotMagic = "SMLS";

template <class T>
std::string number_name(T value, std::initializer_list<const char*> names_from_1) {
  const auto number = static_cast<unsigned>(value);
  return number >= 1 && number <= names_from_1.size() ? names_from_1.begin()[number - 1] : fmt::format("0x{:04x}", number);
}
std::string name_of(CipherSuite suite) {
  const Suite* known = find_suite(suite);
  return known != nullptr ? known->name : fmt::format("0x{:04x}", static_cast<unsigned>(suite));
}
std::string name_of(ExtensionType type) {
  return number_name(type, {"application_id", "ratchet_tree", "required_capabilities", "external_pub", "external_senders"});
}
std::string name_of(ProposalType type) {
  return number_name(type, {"add", "update", "remove", "psk", "reinit", "external_init", "group_context_extensions"});
}
std::string name_of(CredentialType type) { return number_name(type, {"basic", "x509"}); }
std::string name_of(ProtocolVersion version) { return number_name(version, {"mls10"}); }
std::string name_of(ContentType type) { return number_name(type, {"application", "proposal", "commit"}); }
std::string name_of(SenderType type) {
  return number_name(type, {"member", "external", "new_member_proposal", "new_member_commit"});
}
std::string name_of(LeafNodeSource source) { return number_name(source, {"key_package", "update", "commit"}); }

bool printable(View bytes) {
  return !bytes.empty() && std::all_of(bytes.begin(), bytes.end(), [](uint8_t c) { return c >= 0x20 && c < 0x7f; });
}

template <class T>
Json names(const std::vector<T>& values) {
  Json list = Json::array();
  for (const T value : values) {
    list.push_back(name_of(value));
  }
  return list;
}

Json tree_nodes(const RatchetTreeView& view, Status& status);

Json extensions(const Extensions& all) {
  Json list = Json::array();
  for (const Extension& extension : all) {
    Json entry = {{"type", name_of(extension.type)}};
    if (extension.type == ExtensionType::kRatchetTree) {
      Status status;
      if (auto tree = decode<RatchetTreeView>(extension.data)) {
        entry["nodes"] = tree_nodes(*tree, status);
      }
    } else if (auto required = decode<RequiredCapabilities>(extension.data);
               extension.type == ExtensionType::kRequiredCapabilities && required) {
      entry["extensions"] = names(required->extension_types);
      entry["proposals"] = names(required->proposal_types);
      entry["credentials"] = names(required->credential_types);
    } else if (auto senders = decode<ExternalSenders>(extension.data);
               extension.type == ExtensionType::kExternalSenders && senders) {
      for (const ExternalSender& sender : senders->senders) {
        entry["senders"].push_back({{"signature_key", to_hex(sender.signature_key)},
                                    {"credential", describe_credential(sender.credential.type, sender.credential.content)}});
      }
    }
    if (entry.size() == 1) {
      entry["data"] = to_hex(extension.data);
    }
    list.push_back(std::move(entry));
  }
  return list;
}

Json leaf_node(const LeafNode& leaf) {
  Json json = {{"encryption_key", to_hex(leaf.encryption_key)},
               {"signature_key", to_hex(leaf.signature_key)},
               {"credential", describe_credential(leaf.credential.type, leaf.credential.content)},
               {"capabilities",
                {{"versions", names(leaf.capabilities.versions)},
                 {"cipher_suites", names(leaf.capabilities.cipher_suites)},
                 {"extensions", names(leaf.capabilities.extensions)},
                 {"proposals", names(leaf.capabilities.proposals)},
                 {"credentials", names(leaf.capabilities.credentials)}}},
               {"source", name_of(leaf.source)}};
  if (leaf.source == LeafNodeSource::kKeyPackage) {
    json["lifetime"] = {{"not_before", leaf.lifetime.not_before}, {"not_after", leaf.lifetime.not_after}};
  } else if (leaf.source == LeafNodeSource::kCommit) {
    json["parent_hash"] = to_hex(leaf.parent_hash);
  }
  json["extensions"] = extensions(leaf.extensions);
  json["signature"] = to_hex(leaf.signature);
  return json;
}

Json tree_nodes(const RatchetTreeView& view, Status& status) {
  Json nodes = Json::array();
  uint32_t index = 0;
  status = view.nodes.for_each([&](std::optional<NodeView>&& borrowed) -> Status {
    const uint32_t at = index++;
    if (!borrowed) {
      return {};  // blank
    }
    MLS_ASSIGN(const Node node, decode<Node>(encode(*borrowed)));
    Json entry = {{"node", at}};
    if (const auto* leaf = std::get_if<LeafNode>(&node.node)) {
      entry["leaf"] = at / 2;
      entry.update(leaf_node(*leaf));
    } else {
      const auto& parent = std::get<ParentNode>(node.node);
      entry["encryption_key"] = to_hex(parent.encryption_key);
      entry["parent_hash"] = to_hex(parent.parent_hash);
      entry["unmerged_leaves"] = parent.unmerged_leaves;
    }
    nodes.push_back(std::move(entry));
    return {};
  });
  return nodes;
}

Json key_package(const KeyPackage& package) {
  Json json = {{"version", name_of(package.version)},       {"cipher_suite", name_of(package.cipher_suite)},
               {"init_key", to_hex(package.init_key)},      {"leaf_node", leaf_node(package.leaf_node)},
               {"extensions", extensions(package.extensions)}, {"signature", to_hex(package.signature)}};
  if (const Suite* suite = find_suite(package.cipher_suite)) {
    const Status checked = check_key_package(*suite, package);
    json["check"] = checked ? "good" : std::string(error_name(checked.error().code)) + ": " + checked.error().text;
  }
  return json;
}

Json psk_id(const PreSharedKeyId& id) {
  if (id.type == PskType::kExternal) {
    return {{"type", "external"}, {"psk_id", to_hex(id.psk_id)}, {"nonce", to_hex(id.nonce)}};
  }
  return {{"type", "resumption"},
          {"usage", number_name(id.usage, {"application", "reinit", "branch"})},
          {"group_id", to_hex(id.group_id)},
          {"epoch", id.epoch},
          {"nonce", to_hex(id.nonce)}};
}

Json ciphertext(const HpkeCiphertext& sealed) {
  return {{"kem_output", to_hex(sealed.kem_output)}, {"ciphertext", to_hex(sealed.ciphertext)}};
}

Json commit(const Commit& commit) {
  Json json = {{"proposals", Json::array()}};
  for (const ProposalOrRef& each : commit.proposals) {
    json["proposals"].push_back(each.proposal() != nullptr ? describe_proposal(*each.proposal())
                                                           : Json{{"reference", to_hex(*each.reference())}});
  }
  if (commit.path) {
    Json nodes = Json::array();
    for (const UpdatePathNode& node : commit.path->nodes) {
      Json entry = {{"encryption_key", to_hex(node.encryption_key)}, {"encrypted_path_secret", Json::array()}};
      for (const HpkeCiphertext& sealed : node.encrypted_path_secret) {
        entry["encrypted_path_secret"].push_back(ciphertext(sealed));
      }
      nodes.push_back(std::move(entry));
    }
    json["path"] = {{"leaf_node", leaf_node(commit.path->leaf_node)}, {"nodes", std::move(nodes)}};
  }
  return json;
}

Json group_context(const GroupContext& context) {
  return {{"version", name_of(context.version)},
          {"cipher_suite", name_of(context.cipher_suite)},
          {"group_id", to_hex(context.group_id)},
          {"epoch", context.epoch},
          {"tree_hash", to_hex(context.tree_hash)},
          {"confirmed_transcript_hash", to_hex(context.confirmed_transcript_hash)},
          {"extensions", extensions(context.extensions)}};
}

Json body_of(const PublicMessage& message) {
  const FramedContent& content = message.content;
  Json sender = {{"type", name_of(content.sender.type)}};
  if (content.sender.type == SenderType::kMember || content.sender.type == SenderType::kExternal) {
    sender["index"] = content.sender.index;
  }
  Json json = {{"group_id", to_hex(content.group_id)},
               {"epoch", content.epoch},
               {"sender", std::move(sender)},
               {"authenticated_data", to_hex(content.authenticated_data)},
               {"content_type", name_of(content.content_type())}};
  if (const auto* data = std::get_if<ApplicationData>(&content.body)) {
    json["application_data"] = to_hex(data->data);
  } else if (const auto* proposal = std::get_if<Proposal>(&content.body)) {
    json["proposal"] = describe_proposal(*proposal);
  } else {
    json["commit"] = commit(std::get<Commit>(content.body));
  }
  json["signature"] = to_hex(message.auth.signature);
  if (content.content_type() == ContentType::kCommit) {
    json["confirmation_tag"] = to_hex(message.auth.confirmation_tag);
  }
  if (content.sender.type == SenderType::kMember) {
    json["membership_tag"] = to_hex(message.membership_tag);
  }
  return json;
}
Json body_of(const PrivateMessage& message) {
  return {{"group_id", to_hex(message.group_id)},
          {"epoch", message.epoch},
          {"content_type", name_of(message.content_type)},
          {"authenticated_data", to_hex(message.authenticated_data)},
          {"encrypted_sender_data", to_hex(message.encrypted_sender_data)},
          {"ciphertext_bytes", message.ciphertext.size()},
          {"ciphertext", to_hex(message.ciphertext)}};
}
Json body_of(const Welcome& welcome) {
  Json json = {{"cipher_suite", name_of(welcome.cipher_suite)}, {"secrets", Json::array()}};
  for (const EncryptedGroupSecrets& each : welcome.secrets) {
    Json entry = {{"new_member", to_hex(each.new_member)}};
    entry.update(ciphertext(each.encrypted_group_secrets));
    json["secrets"].push_back(std::move(entry));
  }
  json["encrypted_group_info_bytes"] = welcome.encrypted_group_info.size();
  json["encrypted_group_info"] = to_hex(welcome.encrypted_group_info);
  return json;
}
Json body_of(const GroupInfo& info) {
  return {{"group_context", group_context(info.group_context)},
          {"extensions", extensions(info.extensions)},
          {"confirmation_tag", to_hex(info.confirmation_tag)},
          {"signer", info.signer},
          {"signature", to_hex(info.signature)}};
}
Json body_of(const KeyPackage& package) { return key_package(package); }

Result<Json> describe_message(View bytes) {
  MLS_TRY(peek_message(bytes));
  MLS_ASSIGN(const MlsMessage message, decode<MlsMessage>(bytes));
  Json json = {{"kind", "message"},
               {"wire_format", number_name(message.wire_format(),
                                           {"public_message", "private_message", "welcome", "group_info", "key_package"})},
               {"bytes", bytes.size()}};
  std::visit([&json](const auto& body) { json.update(body_of(body)); }, message.body);
  return json;
}

Result<Json> describe_tree(View bytes) {
  MLS_ASSIGN(const RatchetTreeView view, decode<RatchetTreeView>(bytes));
  Status status;
  Json nodes = tree_nodes(view, status);
  MLS_TRY(status);
  if (nodes.empty()) {
    return fail(ErrorCode::kInvalidTree, "decoding a tree: it has no member");
  }
  return Json{{"kind", "tree"}, {"bytes", bytes.size()}, {"nodes", std::move(nodes)}};
}

Result<Json> describe_snapshot(View bytes) {
  MLS_ASSIGN(const Group group, Group::restore({}, bytes));
  Json json = {{"kind", "snapshot"}, {"bytes", bytes.size()}};
  json.update(describe_group(group));
  return json;
}

template <class T, class F>
Result<Json> describe_bare(const char* kind, View bytes, F&& body) {
  MLS_ASSIGN(const T value, decode<T>(bytes));
  Json json = {{"kind", kind}, {"bytes", bytes.size()}};
  json.update(body(value));
  return json;
}

struct Decoder {
  std::string_view kind;
  Result<Json> (*decode)(View bytes);
};

// In the order in which "auto" tries them.
constexpr Decoder kDecoders[] = {
    {"message", describe_message},
    {"snapshot", describe_snapshot},
    {"tree", describe_tree},
    {"key-package", [](View b) { return describe_bare<KeyPackage>("key-package", b, key_package); }},
    {"welcome", [](View b) { return describe_bare<Welcome>("welcome", b, [](const Welcome& w) { return body_of(w); }); }},
    {"group-info", [](View b) { return describe_bare<GroupInfo>("group-info", b, [](const GroupInfo& g) { return body_of(g); }); }},
    {"leaf-node", [](View b) { return describe_bare<LeafNode>("leaf-node", b, leaf_node); }},
    {"proposal", [](View b) { return describe_bare<Proposal>("proposal", b, describe_proposal); }},
    {"commit", [](View b) { return describe_bare<Commit>("commit", b, commit); }},
};

Result<Json> describe_any(View bytes) {
  // What says by its first bytes what it is gets the error of its own decoder.
  if (bytes.size() >= 4 && as_text(bytes.first(4)) == kSnapshotMagic) {
    return describe_snapshot(bytes);
  }
  if (bytes.size() >= 4 && bytes[0] == 0 && bytes[1] == 1 && bytes[2] == 0 && bytes[3] >= 1 && bytes[3] <= 5) {
    if (auto json = describe_bare<KeyPackage>("key-package", bytes, key_package)) {
      return json;  // its version and suite look like a message's version and wire format
    }
    return describe_message(bytes);
  }
  for (const Decoder& decoder : kDecoders) {
    if (auto json = decoder.decode(bytes)) {
      return json;
    }
  }
  return fail(ErrorCode::kMalformed, "decoding: none of the kinds that --as knows");
}

void write_text(const Json& json, size_t indent, std::string& out) {
  const std::string space(indent, ' ');
  for (const auto& [name, value] : json.items()) {
    const std::string label = json.is_array() ? space + "-" : space + name + ":";
    const bool flat = !value.is_structured() || value.empty();
    const bool list = value.is_array() && !value.empty() && !value.front().is_structured();
    if (flat || list) {
      out += label;
      if (list) {
        for (const Json& each : value) {
          out += ' ' + (each.is_string() ? each.get<std::string>() : each.dump());
        }
      } else if (!value.is_structured()) {
        out += ' ' + (value.is_string() ? value.get<std::string>() : value.dump());
      } else {
        out += " none";
      }
      out += '\n';
      continue;
    }
    out += label + '\n';
    write_text(value, indent + 2, out);
  }
}

}  // namespace

Json describe_credential(CredentialType type, View content) {
  if (type == CredentialType::kX509) {
    Json json = {{"type", "x509"}, {"certificates", Json::array()}};
    if (auto chain = certificates_of({type, to_bytes(content)})) {
      for (const Bytes& certificate : *chain) {
        json["certificates"].push_back(to_hex(certificate));
      }
    }
    return json;
  }
  Json json = {{"type", name_of(type)}};
  if (type == CredentialType::kBasic && printable(content)) {
    json["identity"] = std::string(as_text(content));
  }
  json["content"] = to_hex(content);
  return json;
}

Json describe_proposal(const Proposal& proposal) {
  Json json = {{"type", name_of(proposal.type())}};
  if (const auto* add = proposal.as<AddProposal>()) {
    json["key_package"] = key_package(add->key_package);
  } else if (const auto* update = proposal.as<UpdateProposal>()) {
    json["leaf_node"] = leaf_node(update->leaf_node);
  } else if (const auto* remove = proposal.as<RemoveProposal>()) {
    json["removed"] = remove->removed;
  } else if (const auto* psk = proposal.as<PskProposal>()) {
    json["psk"] = psk_id(psk->psk);
  } else if (const auto* reinit = proposal.as<ReInitProposal>()) {
    json["group_id"] = to_hex(reinit->group_id);
    json["version"] = name_of(reinit->version);
    json["cipher_suite"] = name_of(reinit->cipher_suite);
    json["extensions"] = extensions(reinit->extensions);
  } else if (const auto* init = proposal.as<ExternalInitProposal>()) {
    json["kem_output"] = to_hex(init->kem_output);
  } else if (const auto* context = proposal.as<GroupContextExtensionsProposal>()) {
    json["extensions"] = extensions(context->extensions);
  } else if (const auto* unknown = proposal.as<UnknownProposal>()) {
    json["data"] = to_hex(unknown->data);
  }
  return json;
}

Json describe_group(const Group& group) {
  Json json = {{"cipher_suite", group.suite().name},
               {"group_id", to_hex(group.group_id())},
               {"epoch", group.epoch()},
               {"active", group.active()},
               {"tree_hash", to_hex(group.tree_hash())},
               {"confirmed_transcript_hash", to_hex(group.confirmed_transcript_hash())},
               {"extensions", extensions(group.extensions())},
               {"own_leaf", group.own_leaf()},
               {"pending_commit", group.has_pending_commit()},
               {"waiting_proposals", Json::array()},
               {"members", Json::array()}};
  for (const ReceivedProposal& waiting : group.waiting_proposals()) {
    json["waiting_proposals"].push_back({{"reference", to_hex(waiting.ref)},
                                         {"sender", name_of(waiting.sender.type)},
                                         {"index", waiting.sender.index},
                                         {"type", name_of(waiting.proposal->type())}});
  }
  for (LeafIndex i = 0; i < group.leaf_count(); ++i) {
    if (const LeafPtr& leaf = group.member(i)) {
      json["members"].push_back({{"leaf", i},
                                 {"credential", describe_credential(leaf->credential_type(), leaf->credential_content())},
                                 {"signature_key", to_hex(leaf->signature_key())},
                                 {"encryption_key", to_hex(leaf->encryption_key())},
                                 {"source", name_of(leaf->source())}});
    }
  }
  return json;
}

const std::vector<std::string_view>& kinds() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> all;
    for (const Decoder& decoder : kDecoders) {
      all.push_back(decoder.kind);
    }
    return all;
  }();
  return names;
}

Result<Json> describe(View bytes, std::string_view kind) {
  if (kind == "auto") {
    return describe_any(bytes);
  }
  for (const Decoder& decoder : kDecoders) {
    if (decoder.kind == kind) {
      return decoder.decode(bytes);
    }
  }
  return fail(ErrorCode::kInvalidArgument, "decoding: no such kind; see slipway-mls help");
}

std::string to_text(const Json& json) {
  std::string out;
  write_text(json, 0, out);
  return out;
}

}  // namespace slipway::mls::tool
