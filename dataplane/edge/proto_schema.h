#pragma once
// What upstream's decoder would refuse inside the parts of a message that nobody here opens: contents, metadata, link
// messages. One application's broken content must not end the streams of those that it is forwarded to. Pure: any thread.

#include "edge/proto_reader.h"

namespace slipway {

enum class ProtoSchema : std::uint8_t {
  kContent,
  kMetadataEntry,
  kLinkNegotiation,
  // Used inside these.
  kApplicationPayload,
  kCommandPayload,
  kEmpty,
  kJoinRequest,
  kJoinReply,
  kGroupUpdate,
  kGroupWelcome,
  kGroupClose,
  kGroupProposal,
  kHeartbeat,
  kUpdateParticipantState,
  kRejoinRequest,
  kMlsPayload,  // also the reply to a rejoin
  kTimerSettings,
  kMlsSettings,
  kParticipant,
  kParticipantSettings,
  kName,
  kEncodedName,
  kNameId,
  kStringName,
  kCount,
};

// Reads the message that the reader has entered to its end: wire types of known fields, texts, lengths, and the same in
// messages inside. False: the reader's fault() says why.
bool check_fields(ProtoReader& reader, ProtoSchema schema);

// Enters a length-delimited field, checks it, and leaves it.
inline bool check_field(ProtoReader& reader, const ProtoField& field, ProtoSchema schema) {
  const auto outer = reader.enter(field);
  return check_fields(reader, schema) && reader.leave(outer);
}

}  // namespace slipway
