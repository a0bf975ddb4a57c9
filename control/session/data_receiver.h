#pragma once
// The receiving half of a session's data: acknowledges, puts each source's messages into order, asks for what is missing,
// delivers, and says what was lost. Messages come in decrypted and from members only.
//
// Reliable: each source's messages are delivered once and in order; an acknowledgement goes out for what was taken or had
// been taken before, and for nothing else: a message that was given up, or that there is no room for, stays unacknowledged so that
// its sender knows. Best effort: delivered as they come.

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "session/data_stream.h"
#include "session/member_set.h"
#include "session/session_output.h"

namespace slipway {

class DataReceiver {
 public:
  struct Source {
    FullName name;
    std::unique_ptr<DataStream> stream;
  };
  // What was heard of sources that left, or of all when the own membership ended: for the next membership.
  using Memory = std::deque<Source>;

  DataReceiver(const SessionFacts& facts, SessionOutput& out) : facts_(facts), out_(out) {}

  // MSG or RTX_REPLY, decrypted, of the member in this slot.
  void on_message(TimeMs now, MemberSlot slot, SessionMessage message, std::uint64_t epoch);
  void advance(TimeMs now);
  [[nodiscard]] std::optional<TimeMs> next_deadline();
  // The member left. If it comes again it begins anew; what it sent before is remembered if it will go on counting, as ours do.
  void forget(MemberSlot slot, const FullName& name, bool goes_on_counting);
  // The last id of a member that left, as far as it is remembered; 0 if nothing was heard of it.
  [[nodiscard]] std::optional<std::uint32_t> last_id_before(const FullName& name) const;
  // The membership is over: no timers, only memory.
  void end();
  [[nodiscard]] Memory take_memory() { return std::move(departed_); }
  void remember(Memory memory) { departed_ = std::move(memory); }

  // --- for keeping a session over a restart
  using Departed = std::vector<std::pair<FullName, std::uint32_t>>;  // and the last id
  [[nodiscard]] Departed departed() const;
  void remember(const Departed& departed);
  [[nodiscard]] std::uint64_t delivered() const { return delivered_; }  // in order, so far
  // The last id of a source, if it has sent anything.
  [[nodiscard]] std::optional<std::uint32_t> last_id(MemberSlot slot) const;
  void continue_after(MemberSlot slot, const FullName& name, std::uint32_t last_id);

  [[nodiscard]] std::size_t waiting_most() const;        // messages or gaps of the source that has most
  [[nodiscard]] std::size_t waiting_bytes_most() const;

 private:
  DataStream& stream_of(MemberSlot slot, const FullName& name, bool from_slipway);
  template <class Fill>
  void keep_departed(const FullName& name, Fill fill);
  void take_directed(DataStream& stream, const SessionMessage& message, AppMessage incoming);
  void acknowledge(const SessionMessage& message, bool directed);
  void carry_out(const FullName& source);

  const SessionFacts& facts_;
  SessionOutput& out_;
  std::vector<Source> sources_;  // by slot
  Memory departed_;              // kMaxSessionMembers at most
  StreamEffects effects_;
  std::uint64_t delivered_ = 0;
};

}  // namespace slipway
