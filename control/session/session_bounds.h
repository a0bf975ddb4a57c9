#pragma once
// Every bound of the session layer, in one place. Nothing in this folder grows beyond these.

#include <cstddef>
#include <cstdint>

#include "bounds.h"

namespace slipway {

// --- data -------------------------------------------------------------------------------------------------
inline constexpr std::uint32_t kMaxDataId = 0x7FFF'FFFF;        // data ids count modulo 2^31; higher ids are directed messages
inline constexpr std::uint32_t kSendWindow = 512;               // messages kept for retransmission; upstream's ring
inline constexpr std::size_t kMaxSendBytes = 16u << 20;         // payload bytes kept for retransmission, a session
inline constexpr std::uint32_t kMaxDirected = 256;              // unanswered publish_to, a session
inline constexpr std::uint32_t kReorderWindow = 1'024;          // ids that a receiver waits behind, a source
inline constexpr std::size_t kMaxReorderBytes = 8u << 20;       // payload bytes that wait for a missing one, a source
inline constexpr std::uint32_t kMaxProbes = kSendWindow;        // ids asked for before the first one heard of a source
inline constexpr std::size_t kLostRangesKept = kSendWindow / 2 + 1;   // gaps given up that a receiver remembers, a source: all that a
                                                                //   sender may still repeat, were each second message lost
inline constexpr std::size_t kDirectedIdsKept = 64;             // directed messages that a receiver recognises, a source
inline constexpr std::size_t kMaxSessionPayloadBytes = 8u << 20;   // of one message
inline constexpr std::size_t kMaxPayloadTypeBytes = 256;
inline constexpr std::size_t kMaxMetadataEntries = 64;
inline constexpr std::size_t kMaxMetadataBytes = 16u << 10;     // keys and values together
inline constexpr std::uint64_t kHasteMs = 700;                  // after the network came back: for so long what is unacknowledged is
inline constexpr std::uint32_t kHastyIntervalMs = 200;          //   repeated this often, if the timeout is not shorter
inline constexpr std::uint32_t kStalledIntervals = 2;           // silence after which a receiver no longer holds a full window

// --- members ------------------------------------------------------------------------------------------------
inline constexpr std::size_t kMaxSessionMembers = 2'048;
inline constexpr std::uint64_t kHeartbeatMs = 10'000;
inline constexpr std::uint32_t kHeartbeatMisses = 3;            // heartbeats missed: the member is offline

// --- commands -----------------------------------------------------------------------------------------------
inline constexpr std::uint32_t kDefaultControlIntervalMs = 1'000;
inline constexpr std::uint32_t kDefaultControlRetries = 10;
inline constexpr std::uint32_t kMinIntervalMs = 10;             // of a peer's or an application's timer settings
inline constexpr std::uint32_t kMaxIntervalMs = 600'000;
inline constexpr std::uint32_t kMaxRetries = 100;
inline constexpr std::size_t kMaxOpenCommands = 64;             // sent and not answered, a session
inline constexpr std::size_t kMaxTasks = 1'024;                 // invites and removes that wait, a session
inline constexpr std::size_t kMaxInvitesTogether = 16;          // that share one commit
inline constexpr std::size_t kReplayIdsKept = 1'000;            // command ids remembered, a sender; upstream's default
inline constexpr std::size_t kRepliesKept = 8;                  // answers that are repeated to a repeated command, a sender
inline constexpr std::size_t kMaxReplaySenders = kMaxSessionMembers + 512;
inline constexpr std::size_t kStoredCommits = 8;                // commits that wait for an earlier one
inline constexpr std::size_t kMaxCommandBytes = 4u << 20;       // key packages, commits, welcomes

// --- what outlives the process --------------------------------------------------------------------------------
inline constexpr std::uint32_t kStoredDataIds = 64;             // data ids used, or messages taken, between two writes
inline constexpr std::uint32_t kDataIdsALife = 1u << 20;        // that members may have used before a moderator's restart, if it has forgotten;
                                                                //   or since their last heartbeat, where it takes no data
inline constexpr int kRosterLifeBit = 32;                       // of roster versions: above it the moderator's lives are counted
inline constexpr std::uint64_t kRefusedCommitMs = 5'000;        // the group refused a commit that must be: then try again

// --- deadlines ----------------------------------------------------------------------------------------------
inline constexpr std::uint64_t kWelcomeDeadlineMs = 60'000;     // from the join request to the welcome
inline constexpr std::uint64_t kDrainMs = 60'000;               // closing waits no longer for acknowledgements
inline constexpr std::uint64_t kRemovedDeadlineMs = 60'000;     // removed from the group, and nobody told us to leave
inline constexpr std::uint64_t kCommitGapMs = 2'000;            // a commit is missing: then ask to be let in again
inline constexpr std::uint64_t kRejoinBackoffMinMs = 1'000;
inline constexpr std::uint64_t kRejoinBackoffMaxMs = 30'000;
inline constexpr std::uint64_t kEvictionPauseMs = 5'000;        // between two "you are no member" of one session
inline constexpr std::uint64_t kInvitePatienceMs = 2'000;       // whoever is ready to come in waits no longer for those invited with it
inline constexpr std::uint64_t kTombstoneMs = 60'000;           // a closed session still repeats its last answers

// --- the layer ----------------------------------------------------------------------------------------------
inline constexpr std::size_t kMaxSessions = 16'384;
inline constexpr std::size_t kMaxLeftGroups = 256;           // groups left, remembered in case one comes again
inline constexpr std::size_t kMaxTombstones = 256;
inline constexpr std::size_t kMaxServedNames = 256;             // services that one application answers discovery for
inline constexpr std::uint32_t kMaxSessionId = 0xFFFF'FFFFu - 1'002;
inline constexpr std::size_t kMaxAnycastOpen = 4'096;           // reliable anycast messages without an answer
inline constexpr std::size_t kMaxAnycastBytes = 64u << 20;      //   their payloads
inline constexpr std::size_t kAnycastSourcesKept = 1'024;       // senders whose recent messages are recognised
inline constexpr std::size_t kAnycastIdsKept = 32;              // recent messages, a sender

// --- anycast to and from upstream's applications: lines --------------------------------------------------------
inline constexpr std::uint64_t kAnycastPatienceMs = 50;         // no acknowledgement: then it is asked who is there
inline constexpr std::uint64_t kTakerKnownMs = 60'000;          // for so long it is known whether ours or theirs answer for a name
inline constexpr std::size_t kMaxTakersKnown = 1'024;
inline constexpr std::size_t kMaxAnycastServices = 256;         // names that lines are kept for, and sessions of ours that use them
inline constexpr std::size_t kMaxLinesOut = 8;                  // of one service: instances that the load is spread over
inline constexpr std::size_t kMaxAnycastLines = 256;            // of all services, those that are closing too
inline constexpr std::size_t kMaxAnycastLinesIn = 1'024;        // that peers opened
inline constexpr std::uint32_t kLineShare = 8;                  // unacknowledged messages on one line; others wait
inline constexpr std::uint32_t kAskEvery = 4;                   // messages after which another instance is looked for; twice as many
inline constexpr std::uint32_t kAskRarer = 4;                   //   each time that none was found, so often
inline constexpr std::uint32_t kQuestionTries = 5;
inline constexpr std::uint64_t kQuestionMinMs = 100;            // between two tries: the session's timeout within these
inline constexpr std::uint64_t kQuestionMaxMs = 1'000;
inline constexpr std::uint64_t kLineSetupMs = 500;              // an instance that says nothing for so long, or a timeout if that is
                                                                //   longer, while its line is made, is given up
inline constexpr std::uint32_t kLineSilences = 2;               // timeouts without a word; 1 if there is another line
inline constexpr std::uint64_t kLineIdleMs = 60'000;            // a line without messages is closed; it is the only way to answer
inline constexpr std::uint64_t kLineRestMs = 5'000;             //   so long at least, if its place is wanted for another instance
inline constexpr std::uint64_t kLineInIdleMs = 600'000;         // a peer's line without messages

static_assert(2 * kLostRangesKept > kSendWindow, "a message that was given up is never acknowledged when it comes after all");
static_assert(kSendWindow <= kReorderWindow, "what a sender may have in flight fits the receiver's window");
static_assert(kReorderWindow < (kMaxDataId >> 2), "before and after are told apart modulo 2^31");
static_assert(kMaxSessionPayloadBytes <= kMaxSendBytes && kMaxSessionPayloadBytes <= kMaxReorderBytes);
static_assert(3 * kMaxInvitesTogether <= kMaxOpenCommands, "each of them may have to be told to leave as well");
static_assert(kHeartbeatMisses >= 2, "one lost heartbeat must not cost a member");

}  // namespace slipway
