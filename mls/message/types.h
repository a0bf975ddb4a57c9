// Enumerations of RFC 9420 (17). Those with a registry keep unknown values; a struct that cannot go on
// without knowing the value refuses it when it is read.
#pragma once

#include <cstdint>

#include "crypto/suite.h"

namespace slipway::mls {

enum class ProtocolVersion : uint16_t { kMls10 = 1 };

enum class WireFormat : uint16_t {
  kPublicMessage = 1,
  kPrivateMessage = 2,
  kWelcome = 3,
  kGroupInfo = 4,
  kKeyPackage = 5,
};

enum class ExtensionType : uint16_t {
  kApplicationId = 1,
  kRatchetTree = 2,
  kRequiredCapabilities = 3,
  kExternalPub = 4,
  kExternalSenders = 5,
};

enum class ProposalType : uint16_t {
  kAdd = 1,
  kUpdate = 2,
  kRemove = 3,
  kPsk = 4,
  kReInit = 5,
  kExternalInit = 6,
  kGroupContextExtensions = 7,
};

enum class CredentialType : uint16_t { kBasic = 1, kX509 = 2 };

enum class ContentType : uint8_t { kApplication = 1, kProposal = 2, kCommit = 3 };

enum class SenderType : uint8_t {
  kMember = 1,
  kExternal = 2,
  kNewMemberProposal = 3,
  kNewMemberCommit = 4,
};

enum class LeafNodeSource : uint8_t { kKeyPackage = 1, kUpdate = 2, kCommit = 3 };

enum class PskType : uint8_t { kExternal = 1, kResumption = 2 };
enum class ResumptionPskUsage : uint8_t { kApplication = 1, kReInit = 2, kBranch = 3 };

// Types that every client supports and that capabilities must not list (7.2).
constexpr bool is_default(ExtensionType type) {
  return static_cast<uint16_t>(type) >= 1 && static_cast<uint16_t>(type) <= 5;
}
constexpr bool is_default(ProposalType type) {
  return static_cast<uint16_t>(type) >= 1 && static_cast<uint16_t>(type) <= 7;
}
// Reserved values that are sent to keep receivers tolerant (13.5): 0x0a0a, 0x1a1a, to 0xeaea.
constexpr bool is_grease(uint16_t value) {
  return (value & 0x0f0f) == 0x0a0a && (value >> 8) == (value & 0xff) && value != 0xfafa;
}

}  // namespace slipway::mls
