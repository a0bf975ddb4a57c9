#include "message/credential.h"

namespace slipway::mls {

bool is_certificate_list(View content) {
  Reader reader(content);
  while (reader.ok() && !reader.at_end()) {
    reader.read_vector();
  }
  return reader.ok();
}

Credential basic_credential(View identity) { return {CredentialType::kBasic, to_bytes(identity)}; }

Credential x509_credential(const std::vector<Bytes>& chain) {
  Credential credential{CredentialType::kX509, {}};
  Writer writer(credential.content);
  for (const Bytes& certificate : chain) {
    writer(certificate);
  }
  return credential;
}

Result<std::vector<Bytes>> certificates_of(const Credential& credential) {
  if (credential.type != CredentialType::kX509) {
    return fail(ErrorCode::kInvalidArgument, "reading certificates: the credential is not x509");
  }
  std::vector<Bytes> chain;
  Reader reader(credential.content);
  while (reader.ok() && !reader.at_end()) {
    reader(chain.emplace_back());
  }
  MLS_TRY(reader.finish());
  return chain;
}

}  // namespace slipway::mls
