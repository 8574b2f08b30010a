#include "support/client_rows.hpp"

#include <mutex>

#include "sysdb/schema/migrate.hpp"

namespace dbos::test {

struct LogLines::State {
    mutable seam::Mutex mutex;
    std::vector<std::string> lines;
};

std::shared_ptr<LogLines::State> LogLines::make() { return std::make_shared<State>(); }

LogSink LogLines::sink() {
    return [state = state_](const LogRecord& record) {
        const std::lock_guard<seam::Mutex> lock(state->mutex);
        state->lines.push_back(to_logfmt(record));
    };
}

std::vector<std::string> LogLines::lines() const {
    const std::lock_guard<seam::Mutex> lock(state_->mutex);
    return state_->lines;
}

std::size_t LogLines::count(const std::string& text) const {
    std::size_t found = 0;
    for (const std::string& line : lines()) found += line.find(text) != std::string::npos ? 1 : 0;
    return found;
}

void ClientTest::SetUp() {
    DatabaseTest::SetUp();
    if (IsSkipped() || HasFatalFailure() || (postgres() && !postgres_url())) return;
    sysdb::migrate(options());
    connection_ = open();
}

void ClientTest::TearDown() {
    client_.reset();
    connection_.reset();
    DatabaseTest::TearDown();
}

ClientOptions ClientTest::client_options() {
    ClientOptions options;
    options.system_database_url = database().url();
    options.dbos_system_schema = database().schema();
    options.log_sink = log.sink();
    return options;
}

std::unique_ptr<Client> ClientTest::make_client(ClientOptions options) {
    return std::make_unique<Client>(std::move(options));
}

Client& ClientTest::client() {
    if (!client_) client_ = make_client(client_options());
    return *client_;
}

void ClientTest::execute(const std::string& text) { connection_->script(text); }

std::string ClientTest::query_text(const std::string& text) {
    const sql::Result result = connection_->query(text);
    return result.empty() ? "no row" : result.at(0, 0).null() ? "NULL" : result.at(0, 0).string();
}

namespace {
std::string literal(const Cell& cell) {
    if (!cell.quoted) return cell.text;
    std::string text = "'";
    for (const char c : cell.text) {
        text += c;
        if (c == '\'') text += c;
    }
    return text + '\'';
}
}  // namespace

void ClientTest::insert(const std::string& table, const Cells& cells) {
    std::string columns;
    std::string values;
    for (const auto& [column, cell] : cells) {
        columns += (columns.empty() ? "" : ", ") + column;
        values += (values.empty() ? "" : ", ") + literal(cell);
    }
    execute("INSERT INTO @" + table + " (" + columns + ") VALUES (" + values + ")");
}

void ClientTest::insert_workflow(const std::string& id, const std::string& status, const Cells& cells) {
    Cells all = {{"workflow_uuid", id}, {"status", status}};
    bool named = false;
    for (const auto& cell : cells) {
        named = named || cell.first == "name";
        all.push_back(cell);
    }
    if (!named) all.emplace_back("name", "work");
    insert("workflow_status", all);
}

void ClientTest::insert_ended(const std::string& id, const std::string& status,
                              const std::optional<std::string>& output,
                              const std::optional<std::string>& error) {
    insert_workflow(id, status, {{"serialization", "portable_json"}});
    insert("workflow_output", {{"workflow_uuid", id},
                               {"output", output ? Cell(*output) : Cell(nullptr)},
                               {"error", error ? Cell(*error) : Cell(nullptr)}});
}

void ClientTest::end(const std::string& id, const std::string& status,
                     const std::optional<std::string>& output, const std::optional<std::string>& error) {
    const auto text = [](const std::optional<std::string>& value) {
        return value ? literal(Cell(*value)) : "NULL";
    };
    execute("INSERT INTO @workflow_output (workflow_uuid, output, error) VALUES (" + literal(Cell(id)) +
            ", " + text(output) + ", " + text(error) +
            "); UPDATE @workflow_status SET status = " + literal(Cell(status)) +
            ", serialization = 'portable_json' WHERE workflow_uuid = " + literal(Cell(id)));
}

}  // namespace dbos::test
