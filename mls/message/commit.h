// Commit and UpdatePath (RFC 9420, 7.6, 12.4).
#pragma once

#include "message/proposal.h"

namespace slipway::mls {

struct HpkeCiphertext {
  Bytes kem_output;
  Bytes ciphertext;

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    a.bounded(v.kem_output, &Limits::public_key_bytes);
    a(v.ciphertext);
  }
  friend bool operator==(const HpkeCiphertext&, const HpkeCiphertext&) = default;
};

struct UpdatePathNode {
  Bytes encryption_key;
  std::vector<HpkeCiphertext> encrypted_path_secret;

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    a.bounded(v.encryption_key, &Limits::public_key_bytes);
    a.bounded(v.encrypted_path_secret, &Limits::path_ciphertexts);
  }
  friend bool operator==(const UpdatePathNode&, const UpdatePathNode&) = default;
};

struct UpdatePath {
  LeafNode leaf_node;
  std::vector<UpdatePathNode> nodes;

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    a(v.leaf_node);
    a.bounded(v.nodes, &Limits::path_nodes);
  }
  friend bool operator==(const UpdatePath&, const UpdatePath&) = default;
};

struct ProposalOrRef {
  std::variant<Proposal, Bytes> value;  // Bytes: a ProposalRef

  const Proposal* proposal() const { return std::get_if<Proposal>(&value); }
  const Bytes* reference() const { return std::get_if<Bytes>(&value); }

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    uint8_t type = v.value.index() == 0 ? 1 : 2;
    a(type);
    if (type == 1) {
      if constexpr (A::kReading) {
        v.value.template emplace<0>();
      }
      a(std::get<0>(v.value));
    } else if (type == 2) {
      if constexpr (A::kReading) {
        v.value.template emplace<1>();
      }
      a.bounded(std::get<1>(v.value), kMaxHashBytes);
    } else if constexpr (A::kReading) {
      a.fail(ErrorCode::kMalformed, "reading a ProposalOrRef: neither proposal nor reference");
    }
  }
  friend bool operator==(const ProposalOrRef&, const ProposalOrRef&) = default;
};

struct Commit {
  std::vector<ProposalOrRef> proposals;
  std::optional<UpdatePath> path;

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    a.bounded(v.proposals, &Limits::proposals_per_commit);
    a(v.path);
  }
  friend bool operator==(const Commit&, const Commit&) = default;
};

}  // namespace slipway::mls
