#include "edge/proto_schema.h"

#include <array>

namespace slipway {
namespace {

// What a field must be: a number, bytes, text, or a message (by its schema). kUnknown: any form will do.
constexpr std::uint8_t kUnknown = 0xFF;
constexpr std::uint8_t kNumber = 0xFE;
constexpr std::uint8_t kBytes = 0xFD;
constexpr std::uint8_t kText = 0xFC;
constexpr std::size_t kFields = 17;  // the largest known number is 16

struct Row {
  std::array<std::uint8_t, kFields> field;
  constexpr Row() { field.fill(kUnknown); }
};
using Table = std::array<Row, static_cast<std::size_t>(ProtoSchema::kCount)>;

constexpr std::uint8_t in(ProtoSchema schema) { return static_cast<std::uint8_t>(schema); }

// The fields of one message, numbered from 1.
template <class... Kinds>
constexpr void set(Table& table, ProtoSchema schema, Kinds... kinds) {
  std::size_t number = 1;
  ((table[in(schema)].field[number++] = kinds), ...);
}

constexpr Table make_table() {
  using S = ProtoSchema;
  Table t{};
  set(t, S::kContent, in(S::kApplicationPayload), in(S::kCommandPayload));
  set(t, S::kMetadataEntry, kText, kText);
  set(t, S::kLinkNegotiation, kText, kText, kNumber, kBytes, kNumber, kText, kText, kBytes);
  set(t, S::kApplicationPayload, kText, kBytes);
  set(t, S::kCommandPayload, in(S::kEmpty), in(S::kEmpty), in(S::kJoinRequest), in(S::kJoinReply), in(S::kEmpty),
      in(S::kEmpty), in(S::kGroupUpdate), in(S::kGroupWelcome), in(S::kGroupClose), in(S::kGroupProposal), in(S::kEmpty),
      in(S::kEmpty), in(S::kHeartbeat), in(S::kUpdateParticipantState), in(S::kRejoinRequest), in(S::kMlsPayload));
  set(t, S::kJoinRequest, in(S::kTimerSettings), in(S::kName), in(S::kName), in(S::kMlsSettings));
  set(t, S::kJoinReply, kBytes, in(S::kParticipant));
  set(t, S::kGroupUpdate, kNumber, in(S::kParticipant), in(S::kParticipant), in(S::kMlsPayload));
  set(t, S::kGroupWelcome, in(S::kParticipant), in(S::kMlsPayload));
  set(t, S::kGroupClose, in(S::kName));
  set(t, S::kGroupProposal, in(S::kName), kBytes);
  set(t, S::kHeartbeat, kNumber);
  set(t, S::kUpdateParticipantState, in(S::kName), kNumber, kNumber);
  set(t, S::kRejoinRequest, in(S::kName), kBytes);
  set(t, S::kMlsPayload, kNumber, kBytes);
  set(t, S::kTimerSettings, kNumber, kNumber);
  set(t, S::kMlsSettings, kNumber);
  set(t, S::kParticipant, in(S::kName), in(S::kParticipantSettings), kNumber);
  set(t, S::kParticipantSettings, kNumber, kNumber);
  set(t, S::kName, in(S::kEncodedName), in(S::kStringName));
  set(t, S::kEncodedName, kNumber, kNumber, kNumber, in(S::kNameId));
  set(t, S::kNameId, kNumber, kNumber);
  set(t, S::kStringName, kText, kText, kText);
  return t;
}

constexpr Table kTable = make_table();

bool check_value(ProtoReader& reader, const ProtoField& field, std::uint8_t kind) {
  if (kind == kUnknown) {
    return reader.skip(field);
  }
  if (kind == kNumber) {
    std::uint64_t ignored;
    return field.type == WireType::kVarint ? reader.varint(&ignored) : reader.fail(EdgeFault::kWireType);
  }
  if (field.type != WireType::kLength) {
    return reader.fail(EdgeFault::kWireType);
  }
  if (kind == kBytes) {
    reader.skip_content(field);
    return true;
  }
  // The schemas are no deeper than seven messages and none contains itself: the recursion is bounded.
  return kind == kText ? reader.utf8(field) : check_field(reader, field, static_cast<ProtoSchema>(kind));
}

}  // namespace

bool check_fields(ProtoReader& reader, ProtoSchema schema) {
  const auto& kinds = kTable[in(schema)].field;
  ProtoField field;
  while (reader.next(&field)) {
    if (!check_value(reader, field, field.number < kFields ? kinds[field.number] : kUnknown)) {
      return false;
    }
  }
  return reader.fault() == EdgeFault::kNone;
}

}  // namespace slipway
