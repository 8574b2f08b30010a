#include "property/client/run.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "dbos/error.hpp"

namespace dbos::property {

using namespace std::chrono_literals;

namespace {
constexpr std::size_t kPopulation = 260;
constexpr std::uint64_t kMostDivergences = 20;
}  // namespace

std::int64_t wall_ms() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

std::string literal(const std::string& text) {
    std::string quoted = "'";
    for (const char c : text) {
        quoted += c;
        if (c == '\'') quoted += c;
    }
    return quoted + '\'';
}

std::string literal(const Text& text) { return text ? literal(*text) : "NULL"; }

std::string outcome(const std::function<std::string()>& call) {
    try {
        return call();
    } catch (const QueueDeduplicated& error) {
        return "QueueDeduplicated " + error.deduplication_id();
    } catch (const WorkflowIdInUse& error) {
        return "WorkflowIdInUse " + error.workflow_id();
    } catch (const ConflictingWorkflow& error) {
        return "ConflictingWorkflow " + error.workflow_id();
    } catch (const NonexistentWorkflow& error) {
        return "NonexistentWorkflow " + error.workflow_id();
    } catch (const AwaitedWorkflowCancelled&) {
        return "AwaitedWorkflowCancelled";
    } catch (const WorkflowFailed& error) {
        return "WorkflowFailed " + error.message();
    } catch (const BulkRefused& error) {
        std::string text = "BulkRefused";
        for (const auto& refusal : error.refusals()) text += " " + std::to_string(refusal.index);
        return text;
    } catch (const StreamTimeout&) {
        return "StreamTimeout";
    } catch (const Timeout&) {
        return "Timeout";
    } catch (const NotFound&) {
        return "NotFound";
    } catch (const AlreadyExists&) {
        return "AlreadyExists";
    } catch (const UsageError&) {
        return "UsageError";
    } catch (const std::exception& error) {
        return std::string("another error: ") + error.what();
    }
}

Run::Run(const Settings& settings)
    : settings_(settings),
      prefix_("p" + std::to_string(settings.process) + "-"),
      application_("app-" + std::to_string(settings.process)),
      random_(settings.seed, static_cast<std::uint64_t>(settings.process) + 1) {
    ClientOptions options;
    options.system_database_url = settings.url;
    options.dbos_system_schema = settings.schema;
    options.application_name = application_;
    options.log_sink = [](const LogRecord& record) {
        if (record.level >= LogLevel::error) std::fprintf(stderr, "%s\n", to_logfmt(record).c_str());
    };
    client_ = std::make_unique<Client>(std::move(options));
    sql::OpenOptions open;
    open.url = sql::Url::parse(settings.url);
    open.schema = settings.schema;
    others_ = sql::open(open);
    for (const char* version : {"v1", "v2", "v3"}) model_.versions.push_back(prefix_ + version);
}

std::uint64_t Run::run() {
    const auto begun = std::chrono::steady_clock::now();
    std::uint64_t verified = 0;
    while (done_ < settings_.operations && divergences_ < kMostDivergences) {
        one();
        if (touched_.size() > 24) verify_touched();
        if (done_ - verified >= 1500) {
            verify_all();
            verified = done_;
            const auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun);
            if (settings_.operations > 20000 && done_ % 10000 < 1500)
                std::fprintf(stderr, "  process %d: %llu operations, %zu rows, %.0f/s\n", settings_.process,
                             static_cast<unsigned long long>(done_), model_.rows.size(),
                             static_cast<double>(done_) / seconds.count());
        }
    }
    verify_all();
    settle_all_outstanding();
    std::string text;
    for (const auto& [operation, times] : counts_) text += " " + operation + " " + std::to_string(times);
    std::fprintf(stderr, "  process %d:%s\n", settings_.process, text.c_str());
    return divergences_;
}

void Run::count(const std::string& operation, std::uint64_t times) {
    counts_[operation] += times;
    done_ += times;
}

void Run::one() {
    struct Kind {
        const char* name;
        int weight;
        void (Run::*operation)();
    };
    static const Kind kinds[] = {
        {"enqueue", 12, &Run::enqueue},
        {"enqueue_burst", 2, &Run::enqueue_burst},
        {"enqueue_bulk", 2, &Run::enqueue_bulk},
        {"in_transaction", 2, &Run::in_transaction},
        {"debounce", 3, &Run::debounce},
        {"send", 8, &Run::send},
        {"send_bulk", 2, &Run::send_bulk},
        {"cancel", 4, &Run::cancel},
        {"resume", 4, &Run::resume},
        {"delete", 2, &Run::remove},
        {"set_delay", 3, &Run::delay},
        {"set_priority", 4, &Run::priority},
        {"attributes", 4, &Run::attributes},
        {"fork", 3, &Run::fork},
        {"rewind", 3, &Run::rewind},
        {"versions", 2, &Run::versions},
        {"queues", 2, &Run::queues},
        {"schedules", 3, &Run::schedules},
        {"trigger", 1, &Run::trigger},
        {"list", 9, &Run::list},
        {"status", 5, &Run::status},
        {"result", 5, &Run::result},
        {"waits", 2, &Run::waits},
        {"events", 4, &Run::events},
        {"streams", 3, &Run::streams},
        {"steps", 3, &Run::steps},
        {"aggregates", 1, &Run::aggregates},
        {"outstanding", 3, &Run::outstanding},
        {"execute", 16, &Run::execute},
        {"shared", 8, &Run::shared},
    };
    if (model_.rows.size() > kPopulation) {
        remove();
        return count("delete");
    }
    int all = 0;
    for (const Kind& kind : kinds) all += kind.weight;
    int drawn = random_.between(0, all - 1);
    for (const Kind& kind : kinds) {
        drawn -= kind.weight;
        if (drawn >= 0) continue;
        (this->*kind.operation)();
        // What executors do is no operation of a client. Bursts and bulks count what they hold.
        if (kind.operation != &Run::execute) count(kind.name);
        return;
    }
}

void Run::diverged(const std::string& what) {
    ++divergences_;
    std::fprintf(stderr, "divergence: seed %llu, process %d, operation %llu: %s\n",
                 static_cast<unsigned long long>(settings_.seed), settings_.process,
                 static_cast<unsigned long long>(done_), what.c_str());
}

void Run::check(const std::string& what, const std::string& expected, const std::string& got) {
    if (expected != got) diverged(what + ": expected " + expected + ", got " + got);
}

void Run::verify_touched() {
    const std::vector<std::string> ids(touched_.begin(), touched_.end());
    touched_.clear();
    std::set<std::string> seen;
    for (const WorkflowStatus& got : client_->list_workflows({.workflow_ids = ids})) {
        seen.insert(got.workflow_id);
        Row* row = model_.find(got.workflow_id);
        if (!row) {
            diverged("workflow " + got.workflow_id + " is there, but was deleted or never started");
            continue;
        }
        if (const std::string text = differences(*row, got, true, true); !text.empty())
            diverged("workflow " + got.workflow_id + ": " + text);
    }
    for (const std::string& id : ids) {
        if (model_.find(id) && !seen.contains(id)) diverged("workflow " + id + " is missing");
    }
}

void Run::verify_all() {
    touched_.clear();
    std::vector<std::string> ids;
    for (const auto& [id, row] : model_.rows) {
        touched_.insert(id);
        ids.push_back(id);
    }
    verify_touched();
    // Nobody sees rows of another application, and this one's are all there.
    std::string expected, got;
    for (const Row* row : listed(model_, {}, application_)) expected += row->id + " ";
    for (const auto& row : client_->list_workflows({.load_input = false, .load_output = false}))
        got += row.workflow_id + " ";
    check("list_workflows without a filter", expected, got);
    verify_tables(ids);
}

void Run::verify_tables(const std::vector<std::string>& ids) {
    std::string in;
    for (const std::string& id : ids) in += (in.empty() ? "" : ", ") + literal(id);
    if (in.empty()) return;
    std::multiset<std::string> expected, got;
    const auto compare = [&](const char* table) {
        for (const std::string& line : expected) {
            if (!got.contains(line)) diverged(std::string(table) + ": missing " + line);
        }
        for (const std::string& line : got) {
            if (!expected.contains(line)) diverged(std::string(table) + ": not expected " + line);
        }
        if (expected.size() != got.size()) diverged(std::string(table) + ": another number of rows");
        expected.clear();
        got.clear();
    };
    const auto read = [&](const std::string& columns, const std::string& table, const char* id) {
        const sql::Result rows =
            others_->query("SELECT " + columns + " FROM @" + table + " WHERE " + id + " IN (" + in + ")");
        for (std::size_t row = 0; row < rows.size(); ++row) {
            std::string line;
            for (std::size_t column = 0; column < rows.columns(); ++column)
                line +=
                    (column ? "|" : "") + (rows.at(row, column).null() ? "-" : rows.at(row, column).string());
            got.insert(line);
        }
    };
    for (const auto& [id, row] : model_.rows) {
        for (const auto& [n, step] : row.steps)
            expected.insert(id + "|" + std::to_string(n) + "|" + step.name + "|" + step.output);
    }
    read("workflow_uuid, function_id, function_name, output", "operation_outputs", "workflow_uuid");
    compare("steps");
    for (const auto& [id, row] : model_.rows) {
        for (const auto& [key, value] : row.events) expected.insert(id + "|" + key + "|" + value);
    }
    read("workflow_uuid, key, value", "workflow_events", "workflow_uuid");
    compare("events");
    for (const auto& [id, row] : model_.rows) {
        for (const auto& [key, entries] : row.streams) {
            for (const StreamEntry& entry : entries)
                expected.insert(id + "|" + key + "|" + entry.value + "|" + std::to_string(entry.step));
        }
    }
    read("workflow_uuid, key, value, function_id", "streams", "workflow_uuid");
    compare("streams");
    const auto line = [](const SentMessage& message, const std::string& id) {
        return message.destination + "|" + message.topic + "|" + message.text + "|" +
               (message.consumed_by ? std::to_string(*message.consumed_by) : "-") + "|" + id;
    };
    for (const auto& [id, message] : model_.messages) expected.insert(line(message, id));
    for (const SentMessage& message : model_.unkeyed) expected.insert(line(message, ""));
    read(
        "destination_uuid, topic, message, consumed_by_function_id, CASE WHEN message_uuid LIKE '%::%' "
        "AND message_uuid LIKE 'k%' THEN message_uuid ELSE '' END",
        "notifications", "destination_uuid");
    compare("messages");
}

// ---------------------------------------------------------------------------------------------------- drawing

std::string Run::any_id(int missing_one_in) {
    if (model_.rows.empty() || random_.one_in(static_cast<std::uint64_t>(missing_one_in)))
        return prefix_ + "none-" + std::to_string(random_.below(5));
    auto at = model_.rows.begin();
    std::advance(at, static_cast<std::ptrdiff_t>(random_.below(model_.rows.size())));
    return at->first;
}

Row* Run::any_row() { return model_.rows.empty() ? nullptr : model_.find(any_id(1 << 30)); }

Row* Run::row_with(const std::function<bool(const Row&)>& wanted) {
    std::vector<Row*> found;
    for (auto& [id, row] : model_.rows) {
        if (wanted(row)) found.push_back(&row);
    }
    return found.empty() ? nullptr : found[random_.below(found.size())];
}

std::vector<std::string> Run::some_ids(int most, int missing_one_in) {
    std::set<std::string> ids;
    for (int n = random_.between(1, most); n > 0; --n) ids.insert(any_id(missing_one_in));
    return {ids.begin(), ids.end()};
}

std::string Run::queue_name() { return prefix_ + pick({"q1", "q2", "q3"}); }

Value Run::draw_value(int depth) {
    switch (random_.below(depth > 0 ? 8 : 6)) {
        case 0: return nullptr;
        case 1: return random_.one_in(2);
        case 2:
            return static_cast<std::int64_t>(random_.next() >> random_.below(64)) *
                   (random_.one_in(2) ? 1 : -1);
        case 3: return static_cast<double>(random_.between(-1000, 1000)) + 0.5;
        case 4: return pick({"", "a", "it's", "\"quoted\"", "a\\b", "line\nbreak", "ü€😀", "::", "%_"});
        case 5: return std::string(random_.below(200), 'x');
        case 6: {
            Array items;
            for (auto n = random_.below(4); n > 0; --n) items.push_back(draw_value(depth - 1));
            return items;
        }
        default: {
            Object members;
            for (const char* key : {"a", "b'", "c"}) {
                if (random_.one_in(2)) members.emplace_back(key, draw_value(depth - 1));
            }
            return members;
        }
    }
}

Value Run::draw_attributes() {
    Object members;
    for (const char* key : {"a", "b", "c"}) {
        if (random_.one_in(2)) members.emplace_back(key, random_.between(0, 3));
    }
    return members;
}

}  // namespace dbos::property
