#pragma once
// One MLS client driven by JSON requests, so that another implementation can be run against this one. The requests are
// described in README.md.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "describe.h"
#include "group/group.h"

namespace slipway::mls::tool {

class Client {
 public:
  Client();
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // The answer to one line. Never fails: what is wrong is in the answer.
  std::string answer(const std::string& line);

 private:
  struct Psks;
  struct Rules;
  using Verb = Json (Client::*)(const Json& request);
  static const std::map<std::string, Verb>& verbs();

  Json identity(const Json& request);
  Json key_package(const Json& request);
  Json psk(const Json& request);
  Json create(const Json& request);
  Json join(const Json& request);
  Json external_join(const Json& request);
  Json add(const Json& request);
  Json update(const Json& request);
  Json remove(const Json& request);
  Json propose_psk(const Json& request);
  Json propose_join(const Json& request);
  Json external_proposal(const Json& request);
  Json propose_resumption_psk(const Json& request);
  Json propose_reinit(const Json& request);
  Json propose_extensions(const Json& request);
  Json commit(const Json& request);
  Json accept(const Json& request);
  Json refuse(const Json& request);
  Json process(const Json& request);
  Json protect(const Json& request);
  Json unprotect(const Json& request);
  Json export_secret(const Json& request);
  Json group_info(const Json& request);
  Json tree(const Json& request);
  Json state(const Json& request);
  Json save(const Json& request);
  Json restore(const Json& request);
  Json leave(const Json& request);

  Group& group_of(const Json& request);
  const Group* predecessor_of(const Json& request) const;
  Json keep(Group group);
  LeafOptions leaf_options() const;
  void need_identity() const;

  std::unique_ptr<Psks> psks_;
  std::unique_ptr<Rules> rules_;
  GroupConfig config_;
  const Suite* suite_ = nullptr;
  SignatureKey signer_;
  Bytes name_;
  std::vector<ExtensionType> extension_types_;
  std::vector<CredentialType> credential_types_;
  std::vector<PrivateKeyPackage> packages_;
  std::map<std::string, Group> groups_;  // by group id in hex
};

// Answers each line of standard input on standard output until its end.
int serve_client();

}  // namespace slipway::mls::tool
