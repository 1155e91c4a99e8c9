// The arguments of every method that is called, and each block by itself, as Slack's own types have them. `a_b` is method `a.b`.
import type {
  AppsConnectionsOpenArguments,
  AuthTestArguments,
  ChatDeleteArguments,
  ChatPostEphemeralArguments,
  ChatPostMessageArguments,
  ChatUpdateArguments,
  ConversationsHistoryArguments,
  ConversationsListArguments,
  ConversationsRepliesArguments,
  FilesCompleteUploadExternalArguments,
  FilesGetUploadURLExternalArguments,
  UsergroupsListArguments,
  UsergroupsUsersListArguments,
  UsersInfoArguments,
} from "@slack/web-api";
import type { KnownBlock } from "@slack/types";

export type block = KnownBlock;
export type apps_connections_open = AppsConnectionsOpenArguments;
export type auth_test = AuthTestArguments;
export type chat_delete = ChatDeleteArguments;
export type chat_postEphemeral = ChatPostEphemeralArguments;
export type chat_postMessage = ChatPostMessageArguments;
export type chat_update = ChatUpdateArguments;
export type conversations_history = ConversationsHistoryArguments;
export type conversations_list = ConversationsListArguments;
export type conversations_replies = ConversationsRepliesArguments;
export type files_completeUploadExternal = FilesCompleteUploadExternalArguments;
export type files_getUploadURLExternal = FilesGetUploadURLExternalArguments;
export type usergroups_list = UsergroupsListArguments;
export type usergroups_users_list = UsergroupsUsersListArguments;
export type users_info = UsersInfoArguments;
