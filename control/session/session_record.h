#pragma once
// What of a session outlives its process, as values and as bytes. SessionLayer makes them (StoreSession) and takes them back
// (restore); whoever keeps them reads nothing in them.
//
// Two parts, since they change at different rates: the record, with each change of the group; the progress, every
// kStoredDataIds messages sent or taken. Messages are in neither: what was not acknowledged when the process died is the
// application's to publish again, and its receivers learn that it is lost.
//
// The bytes carry a version. Names, addresses and counters: no secret, but nobody else's business.

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "frame/name.h"
#include "session/session_error.h"
#include "session/session_message.h"

namespace slipway {

// A member as its moderator knows it, or as a participant heard of it.
struct MemberRecord {
  ParticipantInfo info;
  bool from_slipway = false;
  bool confirmed = true;               // its welcome was acknowledged
  std::uint64_t since_version = 0;     // of the roster, when it came in
};

struct SessionRecord {
  bool is_moderator = false;
  SessionType type = SessionType::kUnspecified;
  std::uint32_t session_id = 0;
  FullName local;
  Direction direction;
  std::optional<TimerSettings> reliability;
  std::optional<MlsSettings> mls;
  Metadata metadata;
  FullName moderator;
  FullName channel;
  FullName control;
  std::uint64_t roster_version = 0;
  std::uint32_t last_commit = 0;
  bool subscribed = false;             // to channel and control
  bool group_created = false;          // the moderator's, with MLS
  std::vector<MemberRecord> members;   // this one included
  std::vector<std::pair<FullName, std::uint32_t>> departed;  // who left, and the last data id heard of it
};

struct SessionProgress {
  std::uint32_t sent = 0;                           // data ids up to here may have been used
  std::vector<std::pair<Name, std::uint32_t>> heard;  // by source: everything up to this id was delivered or lost
};

[[nodiscard]] SharedBytes encode(const SessionRecord& record);
[[nodiscard]] SharedBytes encode(const SessionProgress& progress);
// kBadRecord: damaged, cut off, or of a version that this one does not know.
[[nodiscard]] std::expected<SessionRecord, SessionError> decode_record(const SharedBytes& bytes);
[[nodiscard]] std::expected<SessionProgress, SessionError> decode_progress(const SharedBytes& bytes);

}  // namespace slipway
