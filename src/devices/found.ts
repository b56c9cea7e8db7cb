/** What looking for something brought, or why it brought nothing. */
export type Found<T> =
  | { readonly found: T; readonly problem?: undefined }
  | { readonly problem: string; readonly found?: undefined }
