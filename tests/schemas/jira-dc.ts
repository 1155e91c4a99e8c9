// Bodies of Jira Data Center's REST API 2. Atlassian publishes no package of them: these types were generated from its
// description of that API by the people of a client, and lie in their package as source files.
import type { CommentJsonBean } from "./node_modules/@atlassian-dc-mcp/jira/src/jira-client/models/CommentJsonBean.js";
import type { IssueUpdateBean } from "./node_modules/@atlassian-dc-mcp/jira/src/jira-client/models/IssueUpdateBean.js";
import type { SearchRequestBean } from "./node_modules/@atlassian-dc-mcp/jira/src/jira-client/models/SearchRequestBean.js";

export type issue = IssueUpdateBean;
export type comment = CommentJsonBean;
export type search = SearchRequestBean;
