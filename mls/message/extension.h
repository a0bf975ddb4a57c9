// Extensions (RFC 9420, 13) and the contents of the ones that the RFC defines.
#pragma once

#include <memory>

#include "message/codec.h"
#include "message/credential.h"
#include "message/types.h"

namespace slipway::mls {

template <class S>
struct ExtensionT {
  ExtensionType type{};
  typename S::String data;

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    a(v.type, v.data);
  }
  friend bool operator==(const ExtensionT&, const ExtensionT&) = default;
};
using Extension = ExtensionT<Owned>;
using ExtensionView = ExtensionT<Borrowed>;
using Extensions = std::vector<Extension>;

bool has_duplicate_types(const Extensions& extensions);
// The data of the extension of that type, if it is there.
const Bytes* find_extension(const Extensions& extensions, ExtensionType type);

// Reads or writes extensions<V>: bounded, no type twice (13.4; a borrowed list is not checked).
template <class A, class List>
void extension_list(A& a, List& list) {
  a.bounded(list, &Limits::extensions);
  if constexpr (A::kReading && std::is_same_v<List, Extensions>) {
    if (has_duplicate_types(list)) {
      a.fail(ErrorCode::kDuplicateEntry, "reading extensions: one type twice");
    }
  }
}

// 11.1. Unknown values are kept.
struct RequiredCapabilities {
  std::vector<ExtensionType> extension_types;
  std::vector<ProposalType> proposal_types;
  std::vector<CredentialType> credential_types;

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    a.bounded(v.extension_types, &Limits::capability_entries);
    a.bounded(v.proposal_types, &Limits::capability_entries);
    a.bounded(v.credential_types, &Limits::capability_entries);
  }
  friend bool operator==(const RequiredCapabilities&, const RequiredCapabilities&) = default;
};

// 12.1.8.1
struct ExternalSender {
  Bytes signature_key;
  Credential credential;

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    a.bounded(v.signature_key, &Limits::public_key_bytes);
    a(v.credential);
  }
  friend bool operator==(const ExternalSender&, const ExternalSender&) = default;
};
struct ExternalSenders {
  std::vector<ExternalSender> senders;

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    a.bounded(v.senders, &Limits::external_senders);
  }
};

// 12.4.3.2
struct ExternalPub {
  Bytes external_pub;

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    a.bounded(v.external_pub, &Limits::public_key_bytes);
  }
};

// Looks an extension up and decodes it; nothing if it is not there.
template <class T>
Result<std::optional<T>> decode_extension(const Extensions& extensions, ExtensionType type,
                                          const Limits& limits = kDefaultLimits) {
  const Bytes* data = find_extension(extensions, type);
  if (data == nullptr) {
    return std::optional<T>();
  }
  MLS_ASSIGN(T value, decode<T>(*data, limits));
  return std::optional<T>(std::move(value));
}

}  // namespace slipway::mls
