// A client on a migrated database of its own, rows written with SQL, and a log that can be read.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "dbos/client.hpp"
#include "support/database.hpp"

namespace dbos::test {

/// Collects log records.
class LogLines {
   public:
    LogSink sink();
    std::vector<std::string> lines() const;
    /// How many lines hold the text.
    std::size_t count(const std::string& text) const;

   private:
    struct State;
    std::shared_ptr<State> state_ = make();
    static std::shared_ptr<State> make();
};

/// A cell: text, number, or NULL.
struct Cell {
    Cell(const char* value) : text(value) {}
    Cell(std::string value) : text(std::move(value)) {}
    Cell(std::int64_t number) : text(std::to_string(number)), quoted(false) {}
    Cell(int number) : Cell(static_cast<std::int64_t>(number)) {}
    Cell(bool flag) : text(flag ? "true" : "false"), quoted(false) {}
    Cell(std::nullptr_t) : text("NULL"), quoted(false) {}
    std::string text;
    bool quoted = true;
};
using Cells = std::vector<std::pair<std::string, Cell>>;

class ClientTest : public DatabaseTest {
   public:
    void SetUp() override;
    void TearDown() override;

    /// The client of the test, made with options() at first use.
    Client& client();
    ClientOptions client_options();
    std::unique_ptr<Client> make_client(ClientOptions options);

    void insert(const std::string& table, const Cells& cells);
    /// A workflow with these columns beside workflow_uuid, status and name.
    void insert_workflow(const std::string& id, const std::string& status, const Cells& cells = {});
    /// A workflow that has ended with this output (or error) in portable_json.
    void insert_ended(const std::string& id, const std::string& status,
                      const std::optional<std::string>& output, const std::optional<std::string>& error = {});
    /// Ends a workflow as another process would: status and payload, without any wake-up.
    void end(const std::string& id, const std::string& status, const std::optional<std::string>& output,
             const std::optional<std::string>& error = {});
    void execute(const std::string& text);
    std::string query_text(const std::string& text);

    /// What the call was refused with.
    template <class F>
    static std::string refusal(F call) {
        try {
            call();
        } catch (const Error& error) {
            return error.what();
        }
        return "nothing was refused";
    }

    LogLines log;

   private:
    std::unique_ptr<sql::Connection> connection_;
    std::unique_ptr<Client> client_;
};

}  // namespace dbos::test
