export type Language = 'en' | 'de' | 'fr' | 'it'

/** Short words that are frequent in one language and no word in the others. */
const COMMON: Record<Language, string> = {
  en: 'the what is and of to me for with this that how give please file are does',
  de: 'der die das und ist was bitte mir eine einen datei wie für mit zeige welche auf den dem im nicht was',
  fr: 'le les des et est une un fichier quoi pour dans que qui moi donne avec ce cette du analyse',
  it: 'il gli una un che cosa per nel della del mi con questo questa è analizza dammi sono le',
}

/** The language whose common words the text has most of; English when none has more. */
export function detectLanguage(text: string): Language {
  const words = text.toLowerCase().match(/\p{L}+/gu) ?? []
  const score = (language: Language) => {
    const common = new Set(COMMON[language].split(' '))
    return words.filter((word) => common.has(word)).length
  }
  const languages: Language[] = ['en', 'de', 'fr', 'it']
  return languages.reduce((best, language) => (score(language) > score(best) ? language : best))
}
