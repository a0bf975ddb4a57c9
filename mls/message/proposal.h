// Proposals (RFC 9420, 12.1) and PreSharedKeyID (8.4).
#pragma once

#include "message/key_package.h"

namespace slipway::mls {

struct PreSharedKeyId {
  PskType type = PskType::kExternal;
  Bytes psk_id;                                              // external
  ResumptionPskUsage usage = ResumptionPskUsage::kApplication;  // resumption, and the next two
  Bytes group_id;
  uint64_t epoch = 0;
  Bytes nonce;  // Nh bytes

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    a(v.type);
    if (v.type == PskType::kExternal) {
      a(v.psk_id);
    } else if (v.type == PskType::kResumption) {
      a(v.usage, v.group_id, v.epoch);
    }
    a(v.nonce);
    if constexpr (A::kReading) {
      if (v.type != PskType::kExternal && v.type != PskType::kResumption) {
        a.fail(ErrorCode::kMalformed, "reading a PreSharedKeyID: unknown type");
      }
      if (v.usage < ResumptionPskUsage::kApplication || v.usage > ResumptionPskUsage::kBranch) {
        a.fail(ErrorCode::kMalformed, "reading a PreSharedKeyID: unknown usage");
      }
    }
  }
  friend bool operator==(const PreSharedKeyId&, const PreSharedKeyId&) = default;
};

struct AddProposal {
  KeyPackage key_package;
  template <class A, class Self>
  static void fields(A& a, Self& v) { a(v.key_package); }
  friend bool operator==(const AddProposal&, const AddProposal&) = default;
};
struct UpdateProposal {
  LeafNode leaf_node;
  template <class A, class Self>
  static void fields(A& a, Self& v) { a(v.leaf_node); }
  friend bool operator==(const UpdateProposal&, const UpdateProposal&) = default;
};
struct RemoveProposal {
  uint32_t removed = 0;
  template <class A, class Self>
  static void fields(A& a, Self& v) { a(v.removed); }
  friend bool operator==(const RemoveProposal&, const RemoveProposal&) = default;
};
struct PskProposal {
  PreSharedKeyId psk;
  template <class A, class Self>
  static void fields(A& a, Self& v) { a(v.psk); }
  friend bool operator==(const PskProposal&, const PskProposal&) = default;
};
struct ReInitProposal {
  Bytes group_id;
  ProtocolVersion version = ProtocolVersion::kMls10;
  CipherSuite cipher_suite{};
  Extensions extensions;
  template <class A, class Self>
  static void fields(A& a, Self& v) {
    a(v.group_id, v.version, v.cipher_suite);
    extension_list(a, v.extensions);
  }
  friend bool operator==(const ReInitProposal&, const ReInitProposal&) = default;
};
struct ExternalInitProposal {
  Bytes kem_output;
  template <class A, class Self>
  static void fields(A& a, Self& v) { a.bounded(v.kem_output, &Limits::public_key_bytes); }
  friend bool operator==(const ExternalInitProposal&, const ExternalInitProposal&) = default;
};
struct GroupContextExtensionsProposal {
  Extensions extensions;
  template <class A, class Self>
  static void fields(A& a, Self& v) { extension_list(a, v.extensions); }
  friend bool operator==(const GroupContextExtensionsProposal&,
                         const GroupContextExtensionsProposal&) = default;
};
// A type that we do not know, taken to be one vector after the type. Kept as it came.
struct UnknownProposal {
  ProposalType type{};
  Bytes data;
  template <class A, class Self>
  static void fields(A& a, Self& v) { a(v.data); }
  friend bool operator==(const UnknownProposal&, const UnknownProposal&) = default;
};

struct Proposal {
  using Body = std::variant<AddProposal, UpdateProposal, RemoveProposal, PskProposal, ReInitProposal,
                            ExternalInitProposal, GroupContextExtensionsProposal, UnknownProposal>;
  Body body;

  ProposalType type() const;
  // Puts an empty body of that type in place.
  void set_type(ProposalType type);

  template <class T>
  const T* as() const { return std::get_if<T>(&body); }

  template <class A, class Self>
  static void fields(A& a, Self& v) {
    ProposalType type = v.type();
    a(type);
    if constexpr (A::kReading) {
      v.set_type(type);
    }
    std::visit([&a](auto& body) { a(body); }, v.body);
  }
  friend bool operator==(const Proposal&, const Proposal&) = default;
};

}  // namespace slipway::mls
