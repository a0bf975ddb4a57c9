// LeafNode (RFC 9420, 7.2), owned, or borrowed from its encoded form.
#pragma once

#include <variant>

#include "message/credential.h"
#include "message/extension.h"

namespace slipway::mls {

// Unknown values are kept, in their order.
template <class S>
struct CapabilitiesT {
  typename S::template List<ProtocolVersion> versions;
  typename S::template List<CipherSuite> cipher_suites;
  typename S::template List<ExtensionType> extensions;
  typename S::template List<ProposalType> proposals;
  typename S::template List<CredentialType> credentials;

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    a.bounded(v.versions, &Limits::capability_entries);
    a.bounded(v.cipher_suites, &Limits::capability_entries);
    a.bounded(v.extensions, &Limits::capability_entries);
    a.bounded(v.proposals, &Limits::capability_entries);
    a.bounded(v.credentials, &Limits::capability_entries);
  }
  friend bool operator==(const CapabilitiesT&, const CapabilitiesT&) = default;
};
using Capabilities = CapabilitiesT<Owned>;
using CapabilitiesView = CapabilitiesT<Borrowed>;

// Seconds since 1970.
struct Lifetime {
  uint64_t not_before = 0;
  uint64_t not_after = 0;

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    a(v.not_before, v.not_after);
  }
  friend bool operator==(const Lifetime&, const Lifetime&) = default;
};

// A LeafNodeView checks the order of things when it is read, not the inside of its lists.
template <class S>
struct LeafNodeT {
  typename S::String encryption_key;
  typename S::String signature_key;
  CredentialT<S> credential;
  CapabilitiesT<S> capabilities;
  LeafNodeSource source = LeafNodeSource::kKeyPackage;
  Lifetime lifetime;                    // source key_package only
  typename S::String parent_hash{};     // source commit only
  typename S::template List<ExtensionT<S>> extensions;
  typename S::String signature;

  // All but the signature.
  template <class A, class Self>
  static void signed_fields(A& a, Self& v) {
    a.bounded(v.encryption_key, &Limits::public_key_bytes);
    a.bounded(v.signature_key, &Limits::public_key_bytes);
    a(v.credential, v.capabilities, v.source);
    switch (v.source) {
      case LeafNodeSource::kKeyPackage: a(v.lifetime); break;
      case LeafNodeSource::kUpdate: break;
      case LeafNodeSource::kCommit: a.bounded(v.parent_hash, kMaxHashBytes); break;
      default:
        if constexpr (A::kReading) {
          a.fail(ErrorCode::kMalformed, "reading a LeafNode: unknown source");
        }
    }
    extension_list(a, v.extensions);
  }
  template <class A, class Self>
  static void fields(A& a, Self& v) {
    signed_fields(a, v);
    a.bounded(v.signature, &Limits::signature_bytes);
  }
  friend bool operator==(const LeafNodeT&, const LeafNodeT&) = default;
};
using LeafNode = LeafNodeT<Owned>;
using LeafNodeView = LeafNodeT<Borrowed>;

inline constexpr std::string_view kLeafNodeLabel = "LeafNodeTBS";

// LeafNodeTBS; group id and leaf index are used for sources update and commit only.
Bytes leaf_node_tbs(const LeafNode& leaf, View group_id, uint32_t leaf_index);
// The same in pieces over a leaf's encoded form, without copying it: pass {signed_part, context} to
// verify_once. `context` is filled with what follows the leaf (empty for source key_package).
View leaf_node_signed_part(View encoded_leaf, const LeafNodeView& leaf);
void leaf_node_tbs_context(LeafNodeSource source, View group_id, uint32_t leaf_index,
                           Bytes& context);

}  // namespace slipway::mls
