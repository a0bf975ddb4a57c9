#pragma once
// Rows as JSON. Only the .cc files of this folder see the JSON library.

#include <nlohmann/json_fwd.hpp>

#include "api/rows.h"
#include "channel/channels.h"

namespace slipway {

using Json = nlohmann::ordered_json;

Json to_json_value(const VersionRow& row);
Json to_json_value(const StatusRow& row);
Json to_json_value(const PortRow& row);
Json to_json_value(const ListenerRow& row);
Json to_json_value(const LinkRow& row);
Json to_json_value(const LinksPage& page);
Json to_json_value(const RoutesPage& page);
Json to_json_value(const ExplainRow& row);
Json to_json_value(const DropRow& row);
Json to_json_value(const BooksRow& row);
Json to_json_value(const BooksPage& page);
Json to_json_value(const WorkerRow& row);
Json to_json_value(const MemoryRow& row);
Json to_json_value(const ConfigRow& row);
Json to_json_value(const ReloadRow& row);
Json to_json_value(const ChannelRow& row);
Json to_json_value(const ChannelCounters& counters);

}  // namespace slipway
