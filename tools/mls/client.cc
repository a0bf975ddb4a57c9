#include "client.h"

#include <algorithm>
#include <chrono>
#include <iostream>

#include "bytes_text.h"

namespace slipway::mls::tool {
namespace {

constexpr uint64_t kLifetime_s = 90 * 86'400;

// Ends a request; `answer` makes the reply of it.
struct Refusal {
  std::string error;
  std::string text;
};
[[noreturn]] void bad_request(std::string text) { throw Refusal{"bad_request", std::move(text)}; }
[[noreturn]] void refuse_with(const Error& error) { throw Refusal{std::string(error_name(error.code)), error.text}; }

template <class T>
T get(Result<T> result) {
  if (!result) {
    refuse_with(result.error());
  }
  return std::move(*result);
}
void must(const Status& status) {
  if (!status) {
    refuse_with(status.error());
  }
}

// Fields of a request. Byte strings are hex.
const Json* find(const Json& request, const char* name) {
  const auto at = request.find(name);
  return at == request.end() || at->is_null() ? nullptr : &*at;
}
Bytes bytes_in(const Json& value, const char* name) {
  if (value.is_string()) {
    if (auto bytes = from_hex(value.get_ref<const std::string&>())) {
      return std::move(*bytes);
    }
  }
  bad_request(std::string(name) + " must be hex");
}
std::optional<Bytes> maybe_bytes(const Json& request, const char* name) {
  const Json* value = find(request, name);
  return value == nullptr ? std::nullopt : std::optional(bytes_in(*value, name));
}
Bytes bytes_of(const Json& request, const char* name) {
  auto bytes = maybe_bytes(request, name);
  if (!bytes) {
    bad_request(std::string(name) + " is missing");
  }
  return std::move(*bytes);
}
std::string text_of(const Json& request, const char* name) {
  const Json* value = find(request, name);
  if (value == nullptr || !value->is_string()) {
    bad_request(std::string(name) + " must be text");
  }
  return value->get<std::string>();
}
std::optional<uint64_t> maybe_number(const Json& request, const char* name) {
  const Json* value = find(request, name);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (!value->is_number_unsigned()) {
    bad_request(std::string(name) + " must be a number that is not negative");
  }
  return value->get<uint64_t>();
}
uint32_t leaf_in(uint64_t value) {
  if (value > UINT32_MAX) {
    bad_request("no leaf has such a number");
  }
  return static_cast<uint32_t>(value);
}
uint64_t number_of(const Json& request, const char* name) {
  const auto value = maybe_number(request, name);
  if (!value) {
    bad_request(std::string(name) + " is missing");
  }
  return *value;
}
bool flag_of(const Json& request, const char* name, bool otherwise) {
  const Json* value = find(request, name);
  if (value != nullptr && !value->is_boolean()) {
    bad_request(std::string(name) + " must be true or false");
  }
  return value == nullptr ? otherwise : value->get<bool>();
}
const Json& list_of(const Json& request, const char* name) {
  static const Json none = Json::array();
  const Json* value = find(request, name);
  if (value != nullptr && !value->is_array()) {
    bad_request(std::string(name) + " must be a list");
  }
  return value == nullptr ? none : *value;
}
std::vector<Bytes> bytes_list(const Json& request, const char* name) {
  std::vector<Bytes> all;
  for (const Json& each : list_of(request, name)) {
    all.push_back(bytes_in(each, name));
  }
  return all;
}
std::vector<uint32_t> number_list(const Json& request, const char* name) {
  std::vector<uint32_t> all;
  for (const Json& each : list_of(request, name)) {
    if (!each.is_number_unsigned()) {
      bad_request(std::string(name) + " must be a list of numbers");
    }
    all.push_back(leaf_in(each.get<uint64_t>()));
  }
  return all;
}
Extensions extensions_of(const Json& request, const char* name) {
  Extensions all;
  for (const Json& each : list_of(request, name)) {
    if (!each.is_object()) {
      bad_request(std::string(name) + " must be a list of objects with type and data");
    }
    all.push_back({static_cast<ExtensionType>(number_of(each, "type")), bytes_of(each, "data")});
  }
  return all;
}
// A new group for the same members: the suite is that of the client unless another is named.
ReInitProposal reinit_of(const Json& value, const Suite* suite) {
  const uint64_t number = maybe_number(value, "suite").value_or(static_cast<uint64_t>(suite->id));
  if (number > UINT16_MAX || find_suite(static_cast<uint16_t>(number)) == nullptr) {
    bad_request("suite must be 1 to 7");
  }
  return {.group_id = bytes_of(value, "group_id"), .cipher_suite = static_cast<CipherSuite>(number),
          .extensions = extensions_of(value, "extensions")};
}
ResumptionPskUsage usage_of(const Json& request) {
  const std::string usage = text_of(request, "usage");
  if (usage != "reinit" && usage != "branch") {
    bad_request("usage must be reinit or branch");
  }
  return usage == "reinit" ? ResumptionPskUsage::kReInit : ResumptionPskUsage::kBranch;
}
// Not time(): its clock may be some milliseconds behind, so that a leaf of this very second would not have begun.
uint64_t now_of(const Json& request) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return maybe_number(request, "now").value_or(static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(now).count()));
}
MessageOptions message_options(const Json& request, Bytes& authenticated_data) {
  authenticated_data = maybe_bytes(request, "authenticated_data").value_or(Bytes{});
  return {.authenticated_data = authenticated_data, .now_s = now_of(request)};
}

Json members_of(const std::vector<MemberChange>& changes) {
  Json list = Json::array();
  for (const MemberChange& change : changes) {
    const LeafPtr& leaf = change.after != nullptr ? change.after : change.before;
    list.push_back({{"leaf", change.index},
                    {"credential", describe_credential(leaf->credential_type(), leaf->credential_content())}});
  }
  return list;
}
Json summary_of(const CommitSummary& summary) {
  return {{"kind", "commit"},
          {"epoch", summary.epoch},
          {"committer", summary.committer},
          {"external", summary.sender.type == SenderType::kNewMemberCommit},
          {"has_path", summary.has_path},
          {"added", members_of(summary.added)},
          {"removed", members_of(summary.removed)},
          {"updated", members_of(summary.updated)},
          {"removes_me", summary.removes_me},
          {"authenticated_data", to_hex(summary.authenticated_data)}};
}

}  // namespace

struct Client::Psks final : PskStore {
  std::map<Bytes, Bytes> known;
  std::optional<Secret> external_psk(View id) override {
    const auto found = known.find(to_bytes(id));
    return found == known.end() ? std::nullopt : std::optional<Secret>(Secret(found->second));
  }
};

struct Client::Rules final : Policy {
  WireFormat format = WireFormat::kPrivateMessage;
  size_t padding_bytes = 0;
  WireFormat handshake_wire_format() override { return format; }
  size_t padding(ContentType, size_t) override { return padding_bytes; }
};

Client::Client() : psks_(std::make_unique<Psks>()), rules_(std::make_unique<Rules>()) {
  config_.psks = psks_.get();
  config_.policy = rules_.get();
}
Client::~Client() = default;

const std::map<std::string, Client::Verb>& Client::verbs() {
  static const std::map<std::string, Verb> table = {
      {"identity", &Client::identity},         {"key_package", &Client::key_package},
      {"psk", &Client::psk},                   {"create", &Client::create},
      {"join", &Client::join},                 {"external_join", &Client::external_join},
      {"add", &Client::add},                   {"update", &Client::update},
      {"remove", &Client::remove},             {"propose_psk", &Client::propose_psk},
      {"propose_join", &Client::propose_join},     {"external_proposal", &Client::external_proposal},
      {"propose_resumption_psk", &Client::propose_resumption_psk}, {"propose_reinit", &Client::propose_reinit},
      {"propose_extensions", &Client::propose_extensions}, {"commit", &Client::commit},
      {"accept", &Client::accept},             {"refuse", &Client::refuse},
      {"process", &Client::process},           {"protect", &Client::protect},
      {"unprotect", &Client::unprotect},       {"export", &Client::export_secret},
      {"group_info", &Client::group_info},     {"tree", &Client::tree},
      {"state", &Client::state},               {"save", &Client::save},
      {"restore", &Client::restore},           {"leave", &Client::leave},
  };
  return table;
}

std::string Client::answer(const std::string& line) {
  Json reply = Json::object();
  const Json request = Json::parse(line, nullptr, false);
  try {
    if (!request.is_object()) {
      bad_request("a request is one JSON object on one line");
    }
    if (const Json* id = find(request, "id")) {
      reply["id"] = *id;
    }
    const auto verb = verbs().find(text_of(request, "op"));
    if (verb == verbs().end()) {
      bad_request("no such op: " + text_of(request, "op"));
    }
    Json result = (this->*verb->second)(request);
    reply["ok"] = true;
    reply.update(result);
  } catch (const Refusal& refusal) {
    reply["ok"] = false;
    reply["error"] = refusal.error;
    reply["text"] = refusal.text;
  }
  // Names come from peers and need not be UTF-8.
  return reply.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// ---- The client itself.

Json Client::identity(const Json& request) {
  const uint64_t number = number_of(request, "suite");
  const Suite* suite = number <= UINT16_MAX ? find_suite(static_cast<uint16_t>(number)) : nullptr;
  if (suite == nullptr) {
    bad_request("suite must be 1 to 7");
  }
  const std::string format = find(request, "wire_format") != nullptr ? text_of(request, "wire_format") : "private";
  if (format != "private" && format != "public") {
    bad_request("wire_format must be private or public");
  }
  const std::string name = text_of(request, "name");
  const auto key = maybe_bytes(request, "signature_private_key");
  signer_ = get(key ? SignatureKey::import(*suite, *key) : SignatureKey::generate(*suite, system_random()));
  suite_ = suite;
  name_ = to_bytes(as_view(name));
  rules_->format = format == "public" ? WireFormat::kPublicMessage : WireFormat::kPrivateMessage;
  rules_->padding_bytes = std::min<uint64_t>(maybe_number(request, "padding").value_or(0), 65'536);
  extension_types_.clear();
  for (const uint32_t type : number_list(request, "extension_types")) {
    extension_types_.push_back(static_cast<ExtensionType>(type));
  }
  credential_types_ = {CredentialType::kBasic};
  for (const uint32_t type : number_list(request, "credential_types")) {
    if (static_cast<CredentialType>(type) != CredentialType::kBasic) {
      credential_types_.push_back(static_cast<CredentialType>(type));
    }
  }
  packages_.clear();
  return {{"signature_key", to_hex(signer_.public_key())}};
}

void Client::need_identity() const {
  if (suite_ == nullptr) {
    bad_request("begin with op identity");
  }
}

LeafOptions Client::leaf_options() const {
  LeafOptions options{basic_credential(name_), simple_capabilities({suite_->id}, credential_types_), {}};
  options.capabilities.extensions = extension_types_;
  return options;
}

Json Client::key_package(const Json& request) {
  need_identity();
  const uint64_t seconds = maybe_number(request, "lifetime").value_or(kLifetime_s);
  packages_.push_back(
      get(make_key_package(*suite_, signer_, leaf_options(), lifetime_from(now_of(request), seconds), system_random())));
  return {{"key_package", to_hex(packages_.back().message)}, {"reference", to_hex(packages_.back().ref)}};
}

Json Client::psk(const Json& request) {
  const Bytes secret = bytes_of(request, "secret");
  if (secret.size() > Secret::kCapacity) {
    bad_request("secret is longer than 72 bytes");
  }
  psks_->known[bytes_of(request, "psk_id")] = secret;
  return Json::object();
}

// ---- Groups.

Group& Client::group_of(const Json& request) {
  if (find(request, "group") == nullptr && groups_.size() == 1) {
    return groups_.begin()->second;
  }
  const auto found = groups_.find(to_hex(bytes_of(request, "group")));
  if (found == groups_.end()) {
    bad_request("no such group");
  }
  return found->second;
}

// The group that a new one continues or branches from.
const Group* Client::predecessor_of(const Json& request) const {
  const auto id = maybe_bytes(request, "predecessor");
  if (!id) {
    return nullptr;
  }
  const auto found = groups_.find(to_hex(*id));
  if (found == groups_.end()) {
    bad_request("no such predecessor");
  }
  return &found->second;
}

Json Client::keep(Group group) {
  const std::string id = to_hex(group.group_id());
  groups_.erase(id);
  const Group& kept = groups_.emplace(id, std::move(group)).first->second;
  return {{"group", id}, {"epoch", kept.epoch()}, {"own_leaf", kept.own_leaf()},
          {"epoch_authenticator", to_hex(kept.epoch_authenticator())}};
}

Json Client::create(const Json& request) {
  need_identity();
  CreateOptions options;
  options.suite = suite_;
  options.group_id = maybe_bytes(request, "group_id").value_or(Bytes{});
  options.extensions = extensions_of(request, "extensions");
  options.signer = &signer_;
  options.leaf = leaf_options();
  options.lifetime = lifetime_from(now_of(request), kLifetime_s);
  if (const Group* predecessor = predecessor_of(request)) {
    return keep(get(Group::create_successor(config_, *predecessor, usage_of(request), options)));
  }
  return keep(get(Group::create(config_, options)));
}

Json Client::join(const Json& request) {
  need_identity();
  const Bytes welcome = bytes_of(request, "welcome");
  const auto tree = maybe_bytes(request, "tree");
  std::vector<const PrivateKeyPackage*> packages;
  for (const PrivateKeyPackage& package : packages_) {
    packages.push_back(&package);
  }
  JoinOptions options;
  options.now_s = now_of(request);
  options.welcome = welcome;
  options.key_packages = packages;
  options.signer = &signer_;
  options.tree = tree ? std::optional<View>(*tree) : std::nullopt;
  options.predecessor = predecessor_of(request);
  auto operation = get(Group::start_join(config_, options));
  while (!get(operation.step(SIZE_MAX))) {
  }
  const size_t used = operation.key_package_used();
  Json reply = keep(get(operation.finish()));
  packages_.erase(packages_.begin() + static_cast<std::ptrdiff_t>(used));
  return reply;
}

Json Client::external_join(const Json& request) {
  need_identity();
  const Bytes info = bytes_of(request, "group_info");
  const auto tree = maybe_bytes(request, "tree");
  const auto remove = maybe_number(request, "remove");
  const Bytes authenticated_data = maybe_bytes(request, "authenticated_data").value_or(Bytes{});
  ExternalJoinOptions options;
  options.now_s = now_of(request);
  options.group_info = info;
  options.tree = tree ? std::optional<View>(*tree) : std::nullopt;
  options.signer = &signer_;
  options.leaf = leaf_options();
  options.remove = remove ? std::optional<LeafIndex>(leaf_in(*remove)) : std::nullopt;
  options.external_psks = bytes_list(request, "psks");
  options.authenticated_data = authenticated_data;
  ExternalJoin joined = get(Group::join_external(config_, options));
  Json reply = keep(std::move(joined.group));
  reply["commit"] = to_hex(joined.commit);
  return reply;
}

Json Client::leave(const Json& request) {
  groups_.erase(to_hex(group_of(request).group_id()));
  return Json::object();
}

// ---- Proposals.

Json Client::add(const Json& request) {
  Bytes authenticated_data;
  const MessageOptions options = message_options(request, authenticated_data);
  return {{"proposal", to_hex(get(group_of(request).propose_add(bytes_of(request, "key_package"), options.now_s, options)))}};
}
Json Client::update(const Json& request) {
  Bytes authenticated_data;
  const MessageOptions options = message_options(request, authenticated_data);
  return {{"proposal", to_hex(get(group_of(request).propose_update({}, options)))}};
}
Json Client::remove(const Json& request) {
  Bytes authenticated_data;
  const MessageOptions options = message_options(request, authenticated_data);
  return {{"proposal", to_hex(get(group_of(request).propose_remove(leaf_in(number_of(request, "leaf")), options)))}};
}
Json Client::propose_psk(const Json& request) {
  Bytes authenticated_data;
  const MessageOptions options = message_options(request, authenticated_data);
  return {{"proposal", to_hex(get(group_of(request).propose_external_psk(bytes_of(request, "psk_id"), options)))}};
}
Json Client::propose_resumption_psk(const Json& request) {
  Bytes authenticated_data;
  const MessageOptions options = message_options(request, authenticated_data);
  return {{"proposal", to_hex(get(group_of(request).propose_resumption_psk(number_of(request, "psk_epoch"), options)))}};
}
Json Client::propose_reinit(const Json& request) {
  Bytes authenticated_data;
  const MessageOptions options = message_options(request, authenticated_data);
  Group& group = group_of(request);
  const Json* reinit = find(request, "reinit");
  if (reinit == nullptr || !reinit->is_object()) {
    bad_request("reinit must be an object");
  }
  return {{"proposal", to_hex(get(group.propose_reinit(reinit_of(*reinit, &group.suite()), options)))}};
}
Json Client::propose_extensions(const Json& request) {
  Bytes authenticated_data;
  const MessageOptions options = message_options(request, authenticated_data);
  return {{"proposal", to_hex(get(group_of(request).propose_extensions(extensions_of(request, "extensions"), options)))}};
}

// From outside (12.1.8): what there is to know of the group is in a GroupInfo.
Json Client::propose_join(const Json& request) {
  Json reply = key_package(request);
  Bytes authenticated_data;
  const MessageOptions message = message_options(request, authenticated_data);
  const GroupInfo info = get(decode_group_info(bytes_of(request, "group_info")));
  const ExternalProposalOptions options{suite_, info.group_context.group_id, info.group_context.epoch, &signer_,
                                        message.authenticated_data};
  reply["proposal"] = to_hex(get(new_member_proposal(options, packages_.back().message)));
  return reply;
}
Json Client::external_proposal(const Json& request) {
  need_identity();
  Bytes authenticated_data;
  const MessageOptions message = message_options(request, authenticated_data);
  const GroupInfo info = get(decode_group_info(bytes_of(request, "group_info")));
  const ExternalProposalOptions options{suite_, info.group_context.group_id, info.group_context.epoch, &signer_,
                                        message.authenticated_data};
  Proposal proposal;
  if (const auto package = maybe_bytes(request, "key_package")) {
    proposal.body = AddProposal{get(decode_key_package(*package))};
  } else {
    proposal.body = RemoveProposal{leaf_in(number_of(request, "leaf"))};
  }
  const uint32_t sender = leaf_in(number_of(request, "sender_index"));
  return {{"proposal", to_hex(get(slipway::mls::external_proposal(options, sender, proposal)))}};
}

// ---- Commits.

Json Client::commit(const Json& request) {
  Group& group = group_of(request);
  const std::vector<Bytes> added = bytes_list(request, "add");
  Bytes authenticated_data;
  CommitOptions options;
  options.message = message_options(request, authenticated_data);
  options.now_s = options.message.now_s;
  options.add.assign(added.begin(), added.end());
  options.remove = number_list(request, "remove");
  options.external_psks = bytes_list(request, "psks");
  if (find(request, "extensions") != nullptr) {
    options.extensions = extensions_of(request, "extensions");
  }
  for (const uint32_t epoch : number_list(request, "resumption_psks")) {
    options.resumption_psks.push_back(epoch);
  }
  if (const Json* reinit = find(request, "reinit")) {
    if (!reinit->is_object()) {
      bad_request("reinit must be an object");
    }
    options.reinit = reinit_of(*reinit, &group.suite());
  }
  options.include_waiting = flag_of(request, "include_waiting", true);
  options.force_path = flag_of(request, "force_path", false);
  options.tree_in_welcome = flag_of(request, "tree_in_welcome", true);
  options.external_pub_in_welcome = flag_of(request, "external_pub_in_welcome", false);
  const CommitResult made = get(group.commit(options));
  if (flag_of(request, "accept", false)) {
    must(group.accept_commit());
  }
  Json reply = {{"commit", to_hex(made.commit)}, {"epoch", made.epoch}, {"added", made.added}};
  if (!made.welcome.empty()) {
    reply["welcome"] = to_hex(made.welcome);
  }
  if (!made.tree.empty()) {
    reply["tree"] = to_hex(made.tree);
  }
  reply["left_out"] = Json::array();
  for (const HashValue& reference : made.left_out) {
    reply["left_out"].push_back(to_hex(reference));
  }
  return reply;
}

Json Client::accept(const Json& request) {
  Group& group = group_of(request);
  must(group.accept_commit());
  return {{"epoch", group.epoch()}, {"epoch_authenticator", to_hex(group.epoch_authenticator())}};
}
Json Client::refuse(const Json& request) {
  must(group_of(request).refuse_commit());
  return Json::object();
}

// ---- Messages.

Json Client::process(const Json& request) {
  Group& group = group_of(request);
  Incoming incoming = get(group.process(bytes_of(request, "message"), now_of(request)));
  if (const auto* message = std::get_if<ApplicationMessage>(&incoming)) {
    return {{"kind", "application"},
            {"plaintext", to_hex(message->plaintext)},
            {"authenticated_data", to_hex(message->authenticated_data)},
            {"epoch", message->epoch},
            {"generation", message->generation},
            {"sender", message->sender}};
  }
  if (const auto* proposal = std::get_if<ReceivedProposal>(&incoming)) {
    return {{"kind", "proposal"},
            {"reference", to_hex(proposal->ref)},
            {"sender", proposal->sender.index},
            {"authenticated_data", to_hex(proposal->authenticated_data)},
            {"proposal", describe_proposal(*proposal->proposal)}};
  }
  if (auto* staged = std::get_if<StagedCommit>(&incoming)) {
    Json reply = summary_of(staged->summary());
    reply["applied"] = flag_of(request, "apply", true);
    if (reply["applied"] == true) {
      must(group.apply(std::move(*staged)));
      reply["epoch_authenticator"] = to_hex(group.epoch_authenticator());
    }
    return reply;
  }
  if (std::holds_alternative<OwnCommit>(incoming)) {
    Json reply = {{"kind", "own_commit"}};
    reply.update(accept(request));
    return reply;
  }
  return {{"kind", "own_message"}};
}

Json Client::protect(const Json& request) {
  const Bytes authenticated_data = maybe_bytes(request, "authenticated_data").value_or(Bytes{});
  return {{"message", to_hex(get(group_of(request).protect(bytes_of(request, "plaintext"), authenticated_data)))}};
}
Json Client::unprotect(const Json& request) {
  const Bytes message = bytes_of(request, "message");
  Bytes plaintext;
  MessageInfo info;
  must(group_of(request).unprotect(message, plaintext, info));
  return {{"plaintext", to_hex(plaintext)},
          {"authenticated_data", to_hex(info.authenticated_data)},
          {"epoch", info.epoch},
          {"generation", info.generation},
          {"sender", info.sender}};
}

// ---- What a group tells.

Json Client::export_secret(const Json& request) {
  const uint64_t size = number_of(request, "size");
  if (size > UINT16_MAX) {
    bad_request("size must be at most 65535");
  }
  const SecretBytes secret =
      get(group_of(request).export_secret(text_of(request, "label"), bytes_of(request, "context"), size));
  return {{"secret", to_hex(secret)}};
}
Json Client::group_info(const Json& request) {
  GroupInfoOptions options;
  options.tree = flag_of(request, "tree", true);
  options.external_pub = flag_of(request, "external_pub", true);
  return {{"group_info", to_hex(get(group_of(request).group_info(options)))}};
}
Json Client::tree(const Json& request) { return {{"tree", to_hex(group_of(request).export_tree())}}; }
Json Client::state(const Json& request) {
  const Group& group = group_of(request);
  Json reply = describe_group(group);
  reply["epoch_authenticator"] = to_hex(group.epoch_authenticator());
  return reply;
}
Json Client::save(const Json& request) { return {{"snapshot", to_hex(group_of(request).save())}}; }
Json Client::restore(const Json& request) { return keep(get(Group::restore(config_, bytes_of(request, "snapshot")))); }

int serve_client() {
  Client client;
  std::string line;
  while (std::getline(std::cin, line)) {
    if (!line.empty()) {
      std::cout << client.answer(line) << std::endl;
    }
  }
  return 0;
}

}  // namespace slipway::mls::tool
