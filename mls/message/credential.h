// Credentials (RFC 9420, 5.3). What they mean is the caller's to say.
#pragma once

#include "message/codec.h"
#include "message/types.h"

namespace slipway::mls {

// Does a credential's content hold a list of certificates, each a vector?
bool is_certificate_list(View content);

// Each type is one vector after the type: an identity, a list of certificates, or, for types that we do
// not know, something whose inside we leave alone.
template <class S>
struct CredentialT {
  CredentialType type{};
  typename S::String content;

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    a(v.type);
    a.bounded(v.content, &Limits::credential_bytes);
    if constexpr (A::kReading) {
      if (v.type == CredentialType::kX509 && !is_certificate_list(v.content)) {
        a.fail(ErrorCode::kMalformed, "reading an x509 credential: not a list of certificates");
      }
    }
  }
  friend bool operator==(const CredentialT& a, const CredentialT& b) {
    return a.type == b.type && equal(a.content, b.content);
  }
};
using Credential = CredentialT<Owned>;
using CredentialView = CredentialT<Borrowed>;

Credential basic_credential(View identity);
// Certificates in DER, the end entity's first.
Credential x509_credential(const std::vector<Bytes>& chain);
// The certificates of an x509 credential: kMalformed if it does not hold a list of them.
Result<std::vector<Bytes>> certificates_of(const Credential& credential);

}  // namespace slipway::mls
